"""Small sets of real pictures with text as conversations: what vision-language models here are trained on and asked."""
