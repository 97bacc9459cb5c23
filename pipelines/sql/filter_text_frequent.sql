-- Pairs and hosts of each phrase; a part counts a phrase and host more than once when it is large.
select phrase, phrase_bucket, num_pairs, num_hosts
from (
    select phrase, phrase_bucket, cast(sum(num_pairs) as bigint) as num_pairs, count(*) as num_hosts
    from (
        select phrase, phrase_bucket, host, cast(sum(num_pairs) as bigint) as num_pairs
        from phrases
        group by phrase, phrase_bucket, host
    ) by_host
    group by phrase, phrase_bucket
) counted
where num_pairs >= $min_pairs and num_hosts >= $min_hosts
