"""Suite: a support ticket in, one line of flat JSON out."""
