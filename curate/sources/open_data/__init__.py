"""The four tables of iNaturalist Open Data: read once for all classes, and what was found in them kept."""
