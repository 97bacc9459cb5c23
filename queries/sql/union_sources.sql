-- Candidates: what meets every threshold but the one that its file is ordered by. place: rank in the file, from 0.
-- Of those, what stands before the stop of its source is admitted; the stops are variables, set as they are found.
create view words as
select file_row_number as place, word as term, count
from word_file;

create view bigrams as
select file_row_number as place, term, count, pmi, npmi
from bigram_file
where count >= $min_bigram_count and $npmi_reached;

create view titles as
select file_row_number as place, title, name, disambiguator, term, views
from title_file;

create view synsets as
select file_row_number as place, id, lemma, term
from synset_file;

-- text: as the source writes it; name: the part of it that became the term; value: what the file is ordered by.
create view candidates as
select 0 as source, place, term, term as text, term as name, count as amount, count::double as value from words
union all
select 1, place, term, term, term, count, pmi from bigrams
union all
select 2, place, term, title, name, views, views::double from titles
union all
select 3, place, term, lemma, lemma, null, null from synsets;

create view admitted as
select *
from candidates
where place < case source
    when 0 then getvariable('word_stop')
    when 1 then getvariable('bigram_stop')
    when 2 then getvariable('title_stop')
    else getvariable('synset_stop')
end;
