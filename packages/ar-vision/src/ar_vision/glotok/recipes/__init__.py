"""Recipe and configs of GloTok tokenizers."""
