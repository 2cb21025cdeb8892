"""From a picture to what a frozen network says of it: views, preprocessing, extraction."""
