"""Where curves and results are shown while a run goes on: TensorBoard, MLflow, Weights & Biases."""
