"""Whether a converted model is its source, and where not: `verify.py` beside this folder is the way in."""
