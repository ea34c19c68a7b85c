"""Text that training rows and cases have in common: what is a case's own, and where it recurs."""
