"""Pictures to what vision towers read, without torchvision: sizes, canvases, patches and crops."""
