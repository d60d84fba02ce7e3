"""What every layer stands on: it knows neither Ray nor machine learning."""
