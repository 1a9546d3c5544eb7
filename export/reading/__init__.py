"""Opens what Keras wrote, of every generation and in every container; `load.py` beside this folder is the way in."""
