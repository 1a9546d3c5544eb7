"""From Keras to ONNX: load, convert, optimize, quantize, verify, stamp, write.

Importing this package or any module in it imports neither TensorFlow nor onnx.
"""
