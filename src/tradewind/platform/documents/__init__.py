"""Documents for people: one description of a paper, drawn as a page or as a PDF."""
