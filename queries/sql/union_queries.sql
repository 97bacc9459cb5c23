-- The list with all that every source says of its terms, also what comes after the term's own place.
create table queries as
select listed.query_id, listed.term,
    case when word.term is null then [] else ['word'] end
        || case when bigram.term is null then [] else ['bigram'] end
        || case when title.term is null then [] else ['title'] end
        || case when synset.term is null then [] else ['synset'] end as sources,
    word.count as word_count, bigram.count as bigram_count, bigram.pmi, bigram.npmi,
    title.title, title.disambiguator, title.views, synset.synsets
from listed
left join (
    select term, count from words where place < getvariable('word_stop')
) word on word.term = listed.term
left join (
    select term, count, pmi, npmi from bigrams where place < getvariable('bigram_stop')
) bigram on bigram.term = listed.term
left join (
    select term, title, disambiguator, views
    from titles
    semi join listed using (term)
    where place < getvariable('title_stop')
    qualify row_number() over (partition by term order by place) = 1
) title on title.term = listed.term
left join (
    select term, list(id order by place) as synsets
    from synsets
    semi join listed using (term)
    group by term
) synset on synset.term = listed.term
