"""Every model on the domain and on general ground."""
