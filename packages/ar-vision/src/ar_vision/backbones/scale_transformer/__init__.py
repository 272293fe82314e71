"""The class-conditional transformer over scales that VAR and FlexVAR are two uses of."""
