//! Reads ONNX files and the model language into the nn dialect.
