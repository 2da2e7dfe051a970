"""How water finds its way over one tile: the loops behind `drainage`, compiled by numba.

Directions are numbered clockwise from east, 0-7; `OUT` leaves the known ground, `FLAT` is not yet
decided, `UNKNOWN` has no elevation. Grids named with a ring have that many more cells on each side
than the tile, NaN or `UNKNOWN` beyond the edge of the ground.
"""

import numpy as np
from numba import njit

kernel = njit(nogil=True, cache=True, error_model="numpy")

DOWN = np.array([0, 1, 1, 1, 0, -1, -1, -1])
RIGHT = np.array([1, 1, 0, -1, -1, -1, 0, 1])
OUT, FLAT, UNKNOWN = np.uint8(8), np.uint8(9), np.uint8(255)
OCEAN = 0
FAR = np.int32(2**31 - 2)
_UNSEEN, _WAITING = -1, -2
_ROOT2 = np.sqrt(2.0)


@kernel
def step_cells(direction):
    """Length of a step in cells."""
    return _ROOT2 if direction % 2 else 1.0


@kernel
def _push(keys, cells, size, key, cell):
    """Add to a binary heap that holds `size`."""
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if keys[parent] <= key:
            break
        keys[place], cells[place] = keys[parent], cells[parent]
        place = parent
    keys[place], cells[place] = key, cell


@kernel
def _pop(keys, cells, size):
    """Take the least from a binary heap that holds `size`."""
    least = cells[0]
    key, cell = keys[size - 1], cells[size - 1]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size - 1:
            break
        if child + 1 < size - 1 and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place], cells[place] = keys[child], cells[child]
        place = child
    keys[place], cells[place] = key, cell
    return least


@kernel
def flood(ringed):
    """Fill a tile's depressions as if water left over its whole perimeter (Barnes 2016, alg. 2).

    Returns the filled elevation, the watershed of each cell (`OCEAN` where water reaches unknown
    ground within the tile, else 1, 2, …, by the perimeter cell it leaves over) and the highest
    watershed.
    """
    rows, cols = ringed.shape[0] - 2, ringed.shape[1] - 2
    filled = ringed[1:-1, 1:-1].copy()
    label = np.full((rows, cols), _UNSEEN, np.int32)
    keys, cells = np.empty(rows * cols, np.float32), np.empty(rows * cols, np.int32)
    below = np.empty(rows * cols, np.int32)
    size, waiting, highest = 0, 0, 0
    for r in range(rows):
        for c in range(cols):
            if np.isnan(filled[r, c]):
                continue
            for k in range(8):
                if np.isnan(ringed[r + 1 + DOWN[k], c + 1 + RIGHT[k]]):
                    label[r, c] = OCEAN
            edge = r == 0 or c == 0 or r == rows - 1 or c == cols - 1
            if edge and label[r, c] == _UNSEEN:
                label[r, c] = _WAITING
            if label[r, c] != _UNSEEN:
                _push(keys, cells, size, filled[r, c], r * cols + c)
                size += 1
    while size or waiting:
        if waiting:
            waiting -= 1
            cell = below[waiting]
        else:
            cell = _pop(keys, cells, size)
            size -= 1
        r, c = cell // cols, cell % cols
        if label[r, c] == _WAITING:
            highest += 1
            label[r, c] = highest
        for k in range(8):
            i, j = r + DOWN[k], c + RIGHT[k]
            if i < 0 or j < 0 or i == rows or j == cols or np.isnan(filled[i, j]):
                continue
            if label[i, j] == _WAITING:
                label[i, j] = label[r, c]
            elif label[i, j] == _UNSEEN:
                label[i, j] = label[r, c]
                if filled[i, j] <= filled[r, c]:
                    filled[i, j] = filled[r, c]
                    below[waiting] = i * cols + j
                    waiting += 1
                else:
                    _push(keys, cells, size, filled[i, j], i * cols + j)
                    size += 1
    return filled, label, highest


@kernel
def steepest(ringed):
    """Direction of the steepest of eight descents, `FLAT` where there is none; from one ring."""
    rows, cols = ringed.shape[0] - 2, ringed.shape[1] - 2
    directions = np.full((rows, cols), UNKNOWN, np.uint8)
    for r in range(rows):
        for c in range(cols):
            here = ringed[r + 1, c + 1]
            if np.isnan(here):
                continue
            best, chosen = 0.0, FLAT
            for k in range(8):
                there = ringed[r + 1 + DOWN[k], c + 1 + RIGHT[k]]
                if np.isnan(there):
                    if chosen == FLAT:
                        chosen = OUT
                    continue
                drop = (here - there) / step_cells(k)
                if drop > best:
                    best, chosen = drop, np.uint8(k)
            directions[r, c] = chosen
    return directions


@kernel
def approach(filled, steps):
    """Count the steps over level ground to the nearest cell of it that has a way out.

    Both grids have one ring. `steps` is 0 where flow is decided and at most `FAR` where it is not;
    it is lowered in place, in the tile alone, as far as tile and ring allow. Returns whether it
    was.
    """
    rows, cols = steps.shape
    queue = np.empty(rows * cols, np.int32)
    queued = np.zeros((rows, cols), np.bool_)
    room, first, waiting, lowered = rows * cols, 0, 0, False
    for r in range(rows):
        for c in range(cols):
            if steps[r, c] < FAR and not np.isnan(filled[r, c]):
                for k in range(8):
                    i, j = r + DOWN[k], c + RIGHT[k]
                    if 0 <= i < rows and 0 <= j < cols and steps[i, j] > steps[r, c] + 1:
                        queue[waiting] = r * cols + c
                        queued[r, c] = True
                        waiting += 1
                        break
    while waiting:
        r, c = queue[first] // cols, queue[first] % cols
        first = (first + 1) % room
        waiting -= 1
        queued[r, c] = False
        for k in range(8):
            i, j = r + DOWN[k], c + RIGHT[k]
            if i < 1 or j < 1 or i > rows - 2 or j > cols - 2 or filled[i, j] != filled[r, c]:
                continue
            if steps[i, j] > steps[r, c] + 1:
                steps[i, j] = steps[r, c] + 1
                lowered = True
                if not queued[i, j]:
                    queued[i, j] = True
                    queue[(first + waiting) % room] = i * cols + j
                    waiting += 1
    return lowered


@kernel
def cross_flats(filled, steps, directions):
    """Send level ground the shortest way out; the first two grids have a ring, the last has not."""
    rows, cols = directions.shape
    for r in range(rows):
        for c in range(cols):
            if directions[r, c] != FLAT:
                continue
            for k in range(8):
                i, j = r + 1 + DOWN[k], c + 1 + RIGHT[k]
                nearer = steps[i, j] == steps[r + 1, c + 1] - 1
                if nearer and filled[i, j] == filled[r + 1, c + 1]:
                    directions[r, c] = k
                    break


@kernel
def accumulate(directions):
    """Cells that drain through each cell of a tile, itself included; NaN where unknown."""
    rows, cols = directions.shape
    inflows = np.zeros((rows, cols), np.uint8)
    cells = np.empty((rows, cols), np.float32)
    for r in range(rows):
        for c in range(cols):
            cells[r, c] = np.nan if directions[r, c] == UNKNOWN else 1.0
            if directions[r, c] < OUT:
                i, j = r + DOWN[directions[r, c]], c + RIGHT[directions[r, c]]
                if 0 <= i < rows and 0 <= j < cols:
                    inflows[i, j] += 1
    for r in range(rows):
        for c in range(cols):
            i, j = r, c
            while inflows[i, j] == 0 and directions[i, j] < OUT:
                inflows[i, j] = 255
                down, right = i + DOWN[directions[i, j]], j + RIGHT[directions[i, j]]
                if not (0 <= down < rows and 0 <= right < cols):
                    break
                cells[down, right] += cells[i, j]
                inflows[down, right] -= 1
                i, j = down, right
    return cells


@kernel
def pour(directions, cells, starts, inflow):
    """Add what flows in at `starts` (flat indices) to every cell on its way through a tile."""
    rows, cols = directions.shape
    for number in range(len(starts)):
        r, c = starts[number] // cols, starts[number] % cols
        while True:
            cells[r, c] += inflow[number]
            if directions[r, c] >= OUT:
                break
            r, c = r + DOWN[directions[r, c]], c + RIGHT[directions[r, c]]
            if not (0 <= r < rows and 0 <= c < cols):
                break


@kernel
def add_downstream(following, total):
    """Sum `total` along chains: each item's sum goes on to the item `following`, -1 for none."""
    inflows = np.zeros(len(following), np.int32)
    for item in range(len(following)):
        if following[item] >= 0:
            inflows[following[item]] += 1
    for item in range(len(following)):
        here = item
        while inflows[here] == 0:
            inflows[here] = -1
            there = following[here]
            if there < 0:
                break
            total[there] += total[here]
            inflows[there] -= 1
            here = there


@kernel
def walk(directions, stop, starts):
    """Follow flow from each of `starts` (flat indices) to the first cell of `stop`.

    Returns that cell, or the last in the tile, as flat indices, and the steps to it in cells.
    """
    rows, cols = directions.shape
    ends, length = np.empty(len(starts), np.int32), np.zeros(len(starts))
    for number in range(len(starts)):
        r, c = starts[number] // cols, starts[number] % cols
        while directions[r, c] < OUT and not stop[r, c]:
            direction = directions[r, c]
            i, j = r + DOWN[direction], c + RIGHT[direction]
            if not (0 <= i < rows and 0 <= j < cols):
                break
            length[number] += step_cells(direction)
            r, c = i, j
        ends[number] = r * cols + c
    return ends, length


@kernel
def carry_upstream(following, gain, value):
    """Give each item without a value (NaN) that of the item `following`, plus its own gain."""
    chain = np.empty(len(following), np.int64)
    for item in range(len(following)):
        here, depth = item, 0
        while np.isnan(value[here]) and following[here] >= 0:
            chain[depth] = here
            depth += 1
            here = following[here]
        for place in range(depth - 1, -1, -1):
            value[chain[place]] = value[following[chain[place]]] + gain[chain[place]]


@kernel
def pull(directions, ringed, gain):
    """Give each cell without a value (NaN) that of the next cell downstream, plus `gain` a cell.

    `ringed` has the values of a tile and of the ring around it, and is filled in place.
    """
    rows, cols = directions.shape
    chain = np.empty(rows * cols, np.int32)
    for cell in range(rows * cols):
        r, c, depth = cell // cols, cell % cols, 0
        while np.isnan(ringed[r + 1, c + 1]) and directions[r, c] < OUT:
            chain[depth] = r * cols + c
            depth += 1
            r, c = r + DOWN[directions[r, c]], c + RIGHT[directions[r, c]]
            if not (0 <= r < rows and 0 <= c < cols):
                break
        value = ringed[r + 1, c + 1]
        for place in range(depth - 1, -1, -1):
            r, c = chain[place] // cols, chain[place] % cols
            value += gain * step_cells(directions[r, c])
            ringed[r + 1, c + 1] = value


@kernel
def links(directions, cells, least):
    """Where channels end in a junction or leave the ground, and on which side slopes drain.

    Both grids have two rings; a channel is a cell that at least `least` cells drain through, or
    the last before the water leaves the ground. Returns, of the tile alone, whether a channel cell
    is the last of its link, and 0 for ground that reaches its channel from the left or is one, 1
    from the right, NaN where it drains to other slopes first. At the head of a channel the side is
    that of the line in which the channel leaves.
    """
    rows, cols = directions.shape[0] - 4, directions.shape[1] - 4
    last = np.zeros((rows, cols), np.bool_)
    side = np.full((rows, cols), np.nan)
    for r in range(rows):
        for c in range(cols):
            towards = directions[r + 2, c + 2]
            if towards == UNKNOWN:
                continue
            channel = towards == OUT or cells[r + 2, c + 2] >= least
            if channel:
                side[r, c] = 0.0
            if towards == OUT:
                last[r, c] = True
                continue
            i, j = r + 2 + DOWN[towards], c + 2 + RIGHT[towards]
            if directions[i, j] != OUT and cells[i, j] < least:
                continue
            inflows, most, up = 0, 0.0, -1
            for k in range(8):
                m, n = i + DOWN[k], j + RIGHT[k]
                if directions[m, n] == (k + 4) % 8 and cells[m, n] >= least:
                    inflows += 1
                    if cells[m, n] > most:
                        most, up = cells[m, n], k
            if channel:
                last[r, c] = inflows > 1
                continue
            down = directions[i, j]
            if down == OUT:
                down = towards
            turn = (towards + 4 - down) % 8
            opposite = (up - down) % 8 if up >= 0 else 4
            side[r, c] = 0.0 if turn > opposite else 1.0
    return last, side
