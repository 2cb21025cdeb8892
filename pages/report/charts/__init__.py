"""Charts as inline SVG: text that a reader can select, colours of the page's own, a title and a description each."""
