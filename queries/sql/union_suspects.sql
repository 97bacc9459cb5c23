-- Admitted candidates without a term, and those with a character that is no letter, digit or everyday punctuation.
select source, text, name, term, amount
from admitted
where term = ''
    or (source >= 2 and regexp_matches(name, '[^\p{L}\p{M}\p{Nd}\p{Nl}\s.,:;!?()''"/–—-]|(^|\s)\.'))
order by source, place
