"""Image data: containers to pictures, pictures to images, images to the endless sample stream of a run, or to stored codes."""
