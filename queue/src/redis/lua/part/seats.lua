-- Who was heard of. `seats` has of each worker whether it shall leave (`1`) or not (`0`), when
-- it was seen, and what it said as JSON, one after the other.
local SEATS = P .. 'seats'

-- Whether it shall leave, when it was seen, what it said.
local function read_seat(seat)
  local drain, seen, info = string.match(seat, '^([01])(%d+)({.*)$')
  return drain, tonumber(seen), info
end
