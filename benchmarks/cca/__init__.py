"""CCA on the small VAR and LlamaGen: samples without guidance, before and after, beside the guidance sweep."""
