//! Who serves what: the view of the nodes and the choice among them.
