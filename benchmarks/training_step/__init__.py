"""What the attention backends are worth in training: whole optimiser steps, and attention alone."""
