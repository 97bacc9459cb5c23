-- Redirects to which redirects lead: few in a wiki. A chain of n redirects is one and n - 1 of these.
create table middles as
select title, target
from pages
where target is not null and title in (select target from pages where target is not null);
