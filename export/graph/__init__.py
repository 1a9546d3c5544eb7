"""TensorFlow's graph of a model -> ONNX's: `convert.py` beside this folder is the way in."""
