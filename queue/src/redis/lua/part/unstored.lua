-- Stores what part/commit.lua has left of a layer.
local function store_layer(unstored)
  call('HSET', unstored.key, unstored.field, struct.pack('<dddddddddddd', unpack(unstored.numbers)))
end
