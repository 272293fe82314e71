"""Conversations about images as the endless sample stream of a run."""
