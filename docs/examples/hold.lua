-- For haproxy.cfg: while no worker is ready, a request waits here for two minutes instead of being refused.
-- Immich does not ask again, so a refused request is a lost job.
core.register_action("hold", { "http-req" }, function(txn)
    for _ = 1, 480 do
        if txn.f:nbsrv("workers") > 0 then
            return
        end
        core.msleep(250)
    end
end)
