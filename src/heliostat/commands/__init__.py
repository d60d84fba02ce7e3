"""What each command does; `cli.py` imports one of these when it is asked for."""
