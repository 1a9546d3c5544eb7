"""Training of image and table classifiers in Keras; needs `pip install 'edgecnn[train]'`."""
