"""C text: the writer, names, and the parts of an emitted file that do not depend on the kind of a layer."""
