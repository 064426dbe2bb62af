//! What only the ends know: the MLS group, the key schedule and SFrame.
