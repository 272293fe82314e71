"""The exact map from Gaussian noise to codes that the flow of Distilled Decoding defines."""
