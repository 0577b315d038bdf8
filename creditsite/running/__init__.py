"""How a checkout runs by itself, from `python3 run.py` on."""
