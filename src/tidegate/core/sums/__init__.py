"""Sums that merge: every closed-form metric of every model on every group, in one pass over the rows.

A *cell of the layout* (:mod:`layout`) is a combination of the slice columns' values; every group of rows is a
union of such cells, so whatever is summed per cell is summed for all groups. :mod:`accumulator` takes batches of
rows and merges with others like it, in any order; :mod:`moments`, :mod:`counts` and :mod:`ranks` are its parts, one
for each kind of formula. :mod:`survey` asks for all of it at once and answers as :class:`Joint` records.
"""
