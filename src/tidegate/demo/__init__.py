"""The story that `tidegate demo` plays: real data, real traffic, five pushes."""
