"""From Keras to ONNX: load, convert, optimize, verify, quantize, stages, stamp, write.

Importing this package or any module in it imports neither TensorFlow nor onnx.
"""
