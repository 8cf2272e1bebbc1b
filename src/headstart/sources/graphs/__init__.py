"""Sources that are graphs: ONNX files and TensorFlow SavedModels."""
