"""From a team's files to clean, split rows."""
