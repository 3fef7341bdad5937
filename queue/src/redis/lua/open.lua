-- Opens the queue.
-- KEYS[1]  the farm's own hash
-- ARGV[3]  the new epoch, if there is none
-- ARGV[4]  the protocol of the queue that is opened, see protocol.rs
-- Answers  {'ok', <epoch>}
-- include any events wake record

local epoch = call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[3]
  call('HSET', KEYS[1], 'epoch', epoch, 'protocol', ARGV[4])
  -- Redis keeps a few short members as a list, which it walks at every call. It does not where one
  -- is as long as this, which never ends.
  call('ZADD', ENDS, 'inf', string.rep('-', 65))
  event('O ' .. epoch)
  wake('all')
  publish()
end
return {'ok', epoch}
