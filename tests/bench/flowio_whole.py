"""FlowIO and numpy on a whole file: prints how long reading it took, and reading it with its statistics, in seconds."""

import sys
import time

import flowio
import numpy

began = time.perf_counter()
values = flowio.FlowData(sys.argv[1]).as_array(preprocess=False)
parsed = time.perf_counter()
for column in values.T.astype("f8"):
    column.min(), column.max(), column.mean(), column.std(), (column < 0).mean(), (column > 262144).sum()
    numpy.percentile(column, [5, 25, 50, 75, 95])
print(parsed - began, time.perf_counter() - began)
