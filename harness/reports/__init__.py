"""Reports: what was judged, as text, tables and files. Pure: no report reads or writes anything."""
