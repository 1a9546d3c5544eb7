"""edgecnn: image and table classifiers from Keras to a device, with the training pixels inside the model."""
