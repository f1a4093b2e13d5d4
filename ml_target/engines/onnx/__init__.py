"""The engine for processors, through ONNX Runtime."""
