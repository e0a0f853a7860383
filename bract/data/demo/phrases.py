"""The phrase material of `bract.data.demo.generator`, written for this project.

One block per intent: `[label] description`, then one phrase per line:
`?` asks for this intent, `=` names it as a topic (fits after "about"), `<` mentions
it as settled (so it is *not* what the writer wants).  An indented line continues the
phrase before it.  `(a|b)` is a choice, `{shop}` a slot that `SLOTS` fills.
"""

INTENTS = """
[card_lost] Reporting a bank card that is lost or mislaid, whereabouts unknown.
? I (can't find|cannot locate|have mislaid|have misplaced) my (card|debit card|bank
    card) anywhere, (what now|what should I do|please block it)
? my (purse|wallet|card holder) (fell out of my bag|dropped into the river|slipped off
    the boat|is somewhere in the woods), card included, please stop it being used
? I think I left my card (at {shop}|{place}) and they say it is not there
? turned the whole (house|car|office) upside down and (the card|my plastic|that debit
    card) is nowhere
? my card has (vanished|disappeared|gone astray), nobody took it as far as I know, I am
    just (careless|scatterbrained|forgetful)
? please (freeze|cancel|put a stop on|deactivate) my card, I dropped it {place} and
    could not find it again
? I had the card {when} at {shop} and now it is not in my (pocket|coat|handbag|rucksack)
? how do I (report|tell you about|declare) a card that I have lost
? the toddler (hid|buried|posted) my bank card somewhere and I have given up looking
? no idea where my card is (since|after) the house move, can it be (locked|disabled|made
    useless)
? it must have slipped out of my (jacket|jeans|phone case) {place}, can you block the
    card
? I went back to {shop} to ask for my card but they (do not have it|never saw it|could
    not find one)
? my card is missing, I do not think anyone (has|pinched|grabbed) it, it is probably in
    a (hedge|drain|bin) by now
? what is the number to ring when you (have lost|cannot find) your card
? I am an idiot and (lost|misplaced|mislaid) my card for the second time this year
? my husband has (lost|mislaid|dropped) the card for our account {place}, could you
    disable it
? (gym bag|suitcase|backpack) was left {place} with my debit card inside, whereabouts
    unknown
? I seem to be without my card, last seen at {shop} {when}
? we cannot find the card for the account, (must it be cancelled|should I cancel it)
    right away
? my card blew away {place}, no chance of getting it back, what (happens|do I do) next
= a card (I can no longer find|that has gone missing|I mislaid|I dropped somewhere)
= (reporting|declaring) my card as lost
= my (misplaced|mislaid|missing) debit card
= having left my card (somewhere|behind|at {shop})
= blocking a card that (slipped out of my pocket|I cannot find)
= a wallet I (lost|dropped) with the card in it
< I lost my card {when} and (have already reported that|it is already cancelled|you
    blocked it straight away)
< the card I had mislaid turned up (under the sofa|in a coat pocket|at {shop})
< I thought my card was missing but (it was in my other bag|my wife had it|I found it)
< I dropped my old card {place} {when}, that one is cancelled and sorted
< no, I have not lost my card, it is (here in my hand|right here|in my wallet)
< last year I mislaid my debit card and you were very helpful

[card_stolen] Reporting that somebody stole or robbed a card, purse or wallet.
? someone (took|pinched|nicked|swiped|grabbed) my (card|wallet|purse) {place}
? I was (robbed|mugged|held up) {when} and they (have|took|got away with) my cards
? a (pickpocket|thief|burglar|lad on a moped) has got my bank card, please block it
? my (handbag|rucksack|wallet) was (snatched|lifted|stolen) {place} and my card was in
    it
? our (flat|car|hotel room) was broken into {when} and my debit card is among what they
    took
? I am (at the police station|with the police) because of a theft and need my card
    (stopped|frozen|cancelled)
? my card was (nicked|stolen|pinched) and the thief may try to use it at {shop}
? who do I call if my card has been (taken|stolen) by somebody
? my (flatmate|ex|former cleaner) (ran off with|helped himself to|walked out with) my
    card, please disable it
? while I was {place} a man (distracted|jostled|bumped into) me and now my card is gone
    from my (pocket|bag)
? please cancel the card, it did not fall out of my pocket, somebody (reached in and
    took|lifted|stole) it
? they smashed the (car window|locker|front door) and went off with my bag, the card was
    inside
? do you need a (police report|crime number) to (block|stop) a card that was taken from
    me
? I saw a teenager (run off|cycle away) with my purse, can you freeze my card at once
? I have been the victim of a (robbery|theft|break-in), my bank card is in the wrong
    hands
? the changing room locker was (forced|emptied|broken open) and my card is with whoever
    did it
? my card got (stolen|swiped|taken) from my desk at work, I want it
    (stopped|deactivated)
? (bag|wallet) thieves {place} got me, (stop|kill|lock) the card please before they go
    shopping
? someone went through my coat at {shop} and the debit card is no longer there
? this is to (report|notify you of) the theft of my card {when}
= the (theft|robbery) of my (card|wallet|purse)
= a card that somebody (took|stole|pinched) from me
= a (pickpocket|thief|burglar) having my debit card
= my card being (nicked|snatched|swiped) {place}
= reporting a stolen card
= a break-in where my card was taken
< my wallet was stolen {when}, (you have already blocked the card|that card is long
    cancelled)
< I was robbed last year and (the thief was caught|that has all been dealt with|you
    replaced my card)
< somebody pinched my purse {place} but (the police gave it back|the card was still in
    it|the card was at home)
< nobody stole my card, (it is here with me|do not worry|I have it)
< the theft of my old card has been (reported|dealt with|filed with the police) already
< a thief took my bag {when}, luckily (without|not) the card

[card_not_arrived] Waiting for a new or replacement card that has not come in the post.
? where is the (replacement|new card|substitute) you (promised|were sending|said was on
    its way)
? I ordered a (card|new card|replacement card) {since} and (nothing has come|my
    letterbox is still empty|the postman has brought nothing)
? how long does it take until a (new|replacement) card (arrives|gets here|is with me)
? still waiting (for|on) my card, it should have (come|landed on the doormat|been here)
    {when}
? has my card been (sent|posted|dispatched|mailed) yet
? can you (track|trace|follow) the letter with my new card
? the (envelope|letter) with the card has not (arrived|reached me|turned up)
? when will I (get|receive|have) the card that replaces the (lost|stolen|expired|broken)
    one
? (two|three|almost four) weeks without a card now, where is the (post|parcel|new one)
    stuck
? my old card (expired|ran out) {when} and no new one has (come|shown up) so far
? was my card sent to {city} or to my (old|previous) address, because it never came
? I opened my account {when} and have not been given a card (yet|so far)
? do I need to be home to sign for the card when it comes, and which day is likely
? the app says my card is on the way but (it has said that|that has been the message)
    {since}
? could the new card be sent by (courier|express), I (travel|fly|leave) to {abroad} soon
    and it is not here
? can I pick up the replacement card at {place2} instead of waiting for the post
? my (wife|husband) got hers, mine is (still missing from the mail|yet to come), we
    ordered the cards together
? what is (delaying|holding up) my card, you mailed it {when} supposedly
? the PIN letter is here, the card (is not|itself has not come), how much longer
? I was told five working days for the card and it is day (nine|eleven|twelve)
= a (new|replacement) card that has not arrived (yet|in the post)
= the (delivery|shipping|posting) of my card
= when my (new|replacement) card will (come|get here|be delivered)
= tracking the card you posted
= the wait for my new card
= a card that was ordered and never came
< my replacement card (came|arrived|was delivered) {when}
< the new card you posted has reached me, thanks
< I waited (ages|weeks) for the card but it is here now
< I know that the new card will be here (on Friday|in five days|next week)
< the postman brought my card {when}
< delivery of the card was quick, (no complaint there|well done)

[card_activation] Activating a new card that has arrived, so that it can be used.
? my new card is here, how do I (activate it|switch it on|get it working|make it live)
? do I have to (do something|use an ATM|ring you) before the new card (works|can be
    used)
? the card (came|arrived|landed on the mat) {when}, what is the (next step|first thing)
    so that I can pay with it
? where in {app} can I (turn on|enable|activate) the card I (got|received) in the post
? how is a new card (activated|enabled|made usable|put into service)
? I tore off the sticker that tells you how to (start|activate) the card, help
? got the replacement, the old one is in the bin, now how do I (start|begin) using the
    fresh one
? the letter says to activate the card (within a month|by phone|at a machine) but the
    (number|link) is (dead|wrong|busy)
? activation of my (debit card|new card|plastic) (fails|will not go through|gives an
    error)
? is my card (ready|live|good to go) as soon as it (drops through the door|comes), or is
    there a step to do
? I want to (bring my new card to life|get my brand-new card going), which menu is it
? can the new card be activated from {abroad}
? does the first payment with PIN (activate|unlock|switch on) the new card by itself
? (unpacked|opened the envelope with) my card, it says inactive in {app}
? my son has received his first card, how do we (set it up|switch it on|get it going)
? the old card stops tonight, how do I make the one from the letter work (instead|before
    then)
? I signed the back of the card I was sent, (is that all|what else is needed) to use it
? I am holding my replacement card and it (wants|asks for) an activation code, which one
    is that
? please (enable|activate) the card that you have posted to me, it is in my hands now
? the new card is a (dud|paperweight) until I activate it and I do not see how
= (activating|enabling|switching on) my new card
= getting a new card ready for (use|the first payment)
= the activation of a card (that came in the post|I was sent)
= how to make the new card work for the first time
= what to do first with a fresh card
= an activation code for my card
< I activated the new card {when} (without trouble|in {app}|at a machine)
< the new card is switched on and has worked before
< activating the card was easy
< my card has been activated, (no problem there|that part went fine)
< I set up my new card {when}, that is done
< you helped me get my new card going {when}

[card_kept_by_machine] A cash machine swallowed or kept the card and did not give it
    back.
? the (cash machine|ATM|machine) at {place2} (ate|swallowed|kept|retained|gobbled up) my
    card
? the machine did not (give back|return|spit out) my card {when}
? my card (is stuck|got stuck|is jammed) inside the (ATM|cash point|dispenser), how do I
    get it back
? the screen went (black|blank|blue) and my card never came out again
? I took too long and the (machine|cash point) pulled my card back in
? can I (fetch|collect|pick up) the card that your machine (kept|confiscated|took in)
? after three wrong tries the ATM (held on to|kept|swallowed) the card
? who opens the (cash machine|ATM) so I can have my card again
? your dispenser has (eaten|devoured|captured) my debit card, I stand in front of it
    right now
? I got the money but the card (stayed inside|was not returned|did not come out)
? the slot (took|sucked in) my card and then said out of order
? does a card kept by the machine of (another|a different) bank come back to me
? will the card that the (machine|ATM) (took|withheld) be (destroyed|shredded|sent to
    me)
? a power cut hit while my card was in the ATM and now it will not let go of it
? stupid machine took my card hostage {when}, what (now|can I do)
? the ATM says card retained, why (would it do|did it do) that and how do I get it out
? I pressed cancel, waited, nothing: no card, no cash, the machine (has|kept) it
? the staff at {place2} say they cannot take my card out of the machine, who can
? my card went into the (wall|hole in the wall|terminal) and (that was the last I saw of
    it|is still in there)
? a cash machine in {abroad} has (retained|swallowed|kept) my card and I fly home
    tomorrow
= a card (kept|swallowed|retained) by a (cash machine|machine|ATM)
= my card being stuck inside the (machine|ATM)
= getting my card out of an ATM
= the machine that (ate|took) my card
= a dispenser not returning my card
= the card that stayed in the machine
< a cash machine swallowed my card {when} but (the branch gave it back|I have it again)
< the ATM kept my old card and you have since sent me another
< the machine gave my card back (in the end|after a minute|as usual)
< my card was stuck in the ATM for a moment, then it came out
< the machine at {place2} ate my card last year, that is history
< getting the card out of the machine was no trouble

[card_payment_declined] A card payment is declined or refused in a shop or online.
? my card (was declined|was refused|got rejected|did not go through) at {shop}
? {shop} would not (take|accept) my card (although there is money in the account|and I
    have no idea why)
? why is my card not (accepted|working|being taken) when I try to pay (online|at the
    till|for petrol)
? the (terminal|till|reader) said (declined|rejected|contact your bank) when I (put my
    card in|paid|tapped)
? I stood at the till {when} with a full trolley and the card (failed|would not work|was
    refused)
? contactless (stopped working|does not work|fails) with my card, the reader only beeps
? cannot (buy|pay for|book) (train tickets|a flight|groceries) because the card is
    turned down each time
? my payment at {shop} was (blocked|knocked back|denied), the balance is fine
? card refused again, (embarrassing|awkward) in front of (the queue|my guests|a client),
    what is wrong with it
? every website (rejects|refuses|bounces) my card since {day}
? I am in {abroad} and no (shop|hotel|restaurant) takes my card, is it set for home only
? it works at the cash machine but not in (shops|a shop|restaurants), why
? tapping is fine up to a point, then {shop} says transaction not permitted
? how come I could not pay {shop} {when}, there is plenty on the account
? had to (borrow cash|leave my shopping|ask {friend} to pay) because my card was (no
    good|turned down)
? the online shop tells me my bank did not (approve|authorise) the payment
? did you (stop|refuse) my payment to {shop}, it never went through
? tried (twice|three times|all day) to pay with this card and it (keeps failing|is
    always refused)
? my subscription says card (payment failed|could not be charged), but the card is valid
    and there is money
? the (chip|card) is (unreadable|not read) at {shop}, they said my bank refuses it
= a payment that was (refused|declined|turned down) at {shop}
= my card not being accepted (in shops|online|anywhere)
= {shop} rejecting my card
= a card that does not work at the till
= a declined transaction
= contactless not working on my card
< my card was declined {when} but (the second try worked|it works again now)
< {shop} refused my card at first, then it (was accepted|went through)
< the card is accepted everywhere, so (that is fine|no problem with paying)
< paying with the card at {shop} worked (as always|without trouble)
< the trouble with my card being turned down (has gone|is over|got fixed {when})
< contactless works again, thank you for that

[card_unblock] Unblocking or unfreezing a card that is blocked or frozen.
? I found my card (again|after all|in the glove box), can you (lift|undo|remove) the
    block
? please (unfreeze|unblock|unlock|release) my card, it was (a false alarm|my mistake|in
    my other jacket)
? how do I (unfreeze|unblock|reactivate) a card that I (froze|locked|blocked) in {app}
? I (blocked|froze|suspended) the card by accident, how do I (reverse|undo) that
? why is my card still (frozen|blocked|locked) when I (asked you to release it|have it
    back)
? the card I reported missing (turned up|has been found|was at {shop} all along), make
    it work again please
? you put a (block|stop|hold) on my card because of {abroad}, I am the one travelling,
    please take it off
? can a cancelled card be (brought back|restored|switched on again) now that I have it
    back
? three wrong PINs and the card is locked, I know the right one now, please open it up
? my (son|daughter|nephew) pressed freeze card on my phone and I cannot find how to thaw
    it
? {friend} brought me the card I had lost, is it possible to (lift|cancel) the block
? the freeze button in {app} will not (go off|toggle back|turn off)
? your fraud team (locked|suspended|blocked) my card {when}, the payment was mine,
    (release it|unlock it) please
? I want my suspended card (back in use|usable again|freed)
? the block on my card (should|could|may) be removed, no thief after all
? is it too late to take the (stop|block) off the card I (cancelled|reported) {when}
? I do not need a replacement, just (unlock|unblock|free) the one I have
? (undo|reverse) the blocking please, the purse was not stolen, {friend} had taken it
    home
? card is (greyed out|marked as frozen|on hold) in {app} and I need it active for {shop}
? you called me {when} about a suspicious payment and I confirmed it, why is the card
    still blocked
= taking the (block|freeze|stop) off my card
= (unfreezing|unblocking|unlocking) my card
= a card that is still (frozen|blocked|locked)
= lifting the block now that I found the card
= a card I blocked by mistake
= having my suspended card released
< my card had been frozen but (you unblocked it|the block is off again) {when}
< the block on my card was lifted {when}
< I froze the card in {app} and that is how it should stay
< I unfroze my card {when} myself
< the card is not blocked, I checked that in {app}
< please leave the block on my old card where it is

[pin_forgotten] The card PIN is forgotten or unknown and has to be shown or sent again.
? I (forgot|cannot remember|no longer know|have a blank about) my PIN
? my (four digits|secret number|card code) (slipped my mind|escapes me|is gone from my
    head)
? how can I (see|view|look up|be reminded of) my PIN
? can you send me my PIN again, (I threw the letter away|the letter got wet|the dog ate
    the letter)
? what was the number I have to (type|enter|key in) at the cash machine, I do not recall
    it
? stood at the till and could not (remember|think of|recall) the four numbers
? after (the holidays|my surgery|months of only tapping) I have no memory of my PIN
? is there a (PIN reminder|way to show the PIN) in {app}
? I keep (mixing up|confusing) the PIN with that of another bank, which is the right one
    here
? please post the PIN for my card once more, I never (wrote it down|memorised it)
? two wrong attempts already, I do not want to guess a third time, how do I find out the
    right PIN
? the PIN letter never came with my card, so I do not know (it|the number)
? my (mother|grandfather|father) does not (remember|know) the PIN of his card any more
? I (burned|shredded|binned) the paper with my secret code before learning it
? brain fog: which digits open my card (again|at the machine)
? where is my PIN (shown|written|to be found), not on the card I suppose
? how do I recover a PIN that I (do not know|forgot)
? need the code of my card to withdraw cash {when2} and (have no clue|am at a loss) what
    it is
? I use the card so rarely that the number for it has (faded|gone), please help
? got a new card, does it have the old PIN, because I (cannot remember|have forgotten)
    that
= a PIN I (forgot|cannot remember|no longer know)
= (getting|seeing|being sent) my PIN again
= a reminder of my card code
= not knowing the four digits of my card
= finding out what my PIN is
= a PIN letter that I threw away
< I had forgotten my PIN but (it came back to me|I remember it now|found the letter)
< I remember my PIN (perfectly|very well), that is not it
< you sent me the PIN again {when}, thanks
< I looked up my PIN in {app} {when}
< the PIN letter arrived {when}
< I know the four digits

[pin_change] Changing the card PIN to a different number of one's own choice.
? how do I (change|switch|swap) my PIN to (something else|a number I like|one I can keep
    in mind)
? I (want|would like|wish) to (choose|pick|set) my own PIN
? can I (alter|change|replace) the PIN at any cash machine or only at yours
? {friend} (saw|knows|watched me type) my PIN, I want a different one
? the PIN you gave me is (hard|awkward|impossible) to keep in my head, can I (pick
    another|choose a different one)
? is it possible to use the same PIN for (both|all) my cards, I know them but want to
    (align|unify) them
? where in {app} is the option for a (new|different|self-chosen) PIN
? I'd like a (fresh|different|safer) four-digit code for the card, the old one is my
    (birthday|birth year|house number)
? does it cost anything to (change|renew|update) the PIN
? I tried to set another PIN at {place2} and the machine (said no|refused|did not offer
    it)
? how often (may|can|should) I change the code of my card
? the menu PIN services is (missing|gone) from the machine, how else can I put in a new
    number
? may my new PIN (start with|have) a zero, and where do I enter it
? somebody looked over my shoulder while I typed, so I need new digits
? from now on I want (my|our) card to have a PIN of my choice, what must I do
? do I need to know the present PIN to (set|choose) another one
? can the PIN have six digits instead of four, mine feels too (short|easy|weak)
? please explain (changing|modifying) a card PIN step by step
? I share the card with {friend} no longer, so the number should be (changed|different)
? when I pick a different PIN in {app}, does it apply (at once|in shops too)
= (changing|altering|replacing) my PIN
= choosing a PIN (of my own|myself)
= setting a different four-digit code
= swapping the PIN for another number
= a new PIN because somebody saw the old one
= using one PIN for all my cards
< I changed my PIN {when} (at a machine|in {app})
< I chose a new PIN {when} and it works
< I am happy with the PIN I have and do not want another
< my PIN was changed after {friend} saw it
< I do not want to change my PIN
< setting another PIN took me a minute

[login_problem] Cannot log in to the app or online banking: password forgotten or access
    locked.
? I (cannot|can't|am unable to) (log in|sign in|get into my account) (on my phone|on the
    website|any more)
? {app} (does not let me in|keeps throwing me out|says wrong password)
? I forgot my (password|login|user name) for {app}
? my access is (locked|blocked|suspended) after too many (attempts|tries|wrong
    passwords)
? how do I reset the password for (online banking|internet banking|the app)
? the website says my user is (unknown|not recognised|disabled)
? since I got a new phone, (the app|it) does not (know|recognise) me
? fingerprint (does not work|fails) and it wants a password that I do not
    (know|remember)
? I am (shut out of|locked out of|barred from) (my account|internet banking|the app)
? {app} crashes (whenever|each time) I enter my details and I cannot see my balance
? I type the right password and (it is rejected|nothing happens|it says try again later)
? can you reopen my online access, it was (frozen|disabled) {when}
? face recognition has stopped letting me into the (app|bank)
? what is my (customer number|login name), the website wants it before it lets me in
? after the update I get (an error|a white screen|a spinning wheel) instead of my
    accounts
? no access to my account (from abroad|from my laptop|from the office) since {day},
    password refused
? (forgotten|lost) the passphrase for {app}, where do I request another
? my father cannot sign on any more, the page says his profile is blocked
? how long does the lock on my online access last, I only mistyped the password
? the app keeps asking me to register again and then (refuses|rejects) my details
= not being able to (log in|sign in)
= a forgotten password for {app}
= being locked out of {app}
= access to (online banking|my account on the phone)
= resetting my password
= an app that will not let me in
< I could not log in {when} but now I am in
< my password was reset {when}
< logging in works, (I am in the app right now|that is not the trouble)
< {app} had locked me out {when}, you fixed that quickly
< I know my password and can sign in
< the app let me in without trouble

[security_code_missing] The one-time security code by text message does not arrive or
    does not work.
? the (code|text with the code|one-time password) (does not arrive|never comes|is not
    reaching me)
? I (get|receive) no (SMS|text message|text) when I want to (confirm|approve) a payment
? waiting for the six digits to (log in|pay|confirm a transfer), nothing on my phone
? the security code you text me comes (too late|after it has expired|an hour later)
? the one-time code is (rejected|refused|said to be invalid) even though I typed it
    right
? how can I get the verification code when I am in {abroad} without (my SIM|signal)
? no message with the number for my purchase at {shop}, so I cannot complete it
? the code goes to (a phone I do not use|the wrong place|nowhere), not to my mobile
? I pressed resend (five|ten|a dozen) times and my phone stays (silent|quiet)
? {app} wants a passcode from a text that (I was never sent|did not come)
? my texts are (fine|working) otherwise, only your confirmation codes do not get through
? is there a way to receive the code by (mail|phone call|email) since the texts (fail|do
    not come)
? the transfer asks me for a code from an SMS and no SMS (comes|shows up|lands)
? when I shop online it says we sent you a code, well, you did not
? my (network|provider) says your messages are not (delivered|reaching them), codes I
    mean
? the verification text is always (delayed|blank|late) and the page times out before I
    can enter it
? I changed my SIM and since then the confirmation texts have (stopped|dried up)
? why do you not send me the (digits|authentication code|passcode) I need to approve the
    payment
? third evening with no one-time code, I cannot pay {shop}
? what can I do if the code in your text has expired before I (open|see|read) it
= a (one-time code|security code|confirmation text) that does not arrive
= the (texts|SMS) with the codes
= not receiving the code to confirm a payment
= an expired one-time password
= the verification message missing on my phone
= a code that is refused as invalid
< the one-time code came (at once|after a while|in time)
< I did get the text with the code
< your confirmation texts did not reach me {when}, now they do
< I received the six digits and typed them in
< the code worked
< the SMS with the code is here

[phone_number_change] Updating the telephone number or email that the bank has stored.
? I have a (new|different|another) (phone number|mobile number|telephone)
? how do I (update|change|replace) the (mobile|phone number|number) you have for me
? please (remove|delete) my old number and (store|note|use) the new one
? my number (changed|is no longer mine) because I switched (provider|company|country)
? you still (have|call|text) the number I gave up {when}
? where in {app} can I (enter|register|save) my new mobile
? please contact me under another email from now on
? the number in my profile belongs to {friend} now, put in mine instead
? I want a second (phone|mobile) on file for (texts|security codes|calls)
? my (email|mail address) is (outdated|dead|no longer in use), how do I give you the
    current one
? codes should go to my new SIM from now on, what do I (fill in|need to do)
? the landline is being (disconnected|cut off), kindly swap it for my mobile
? can I change my contact number (by phone|without visiting|from {abroad})
? I moved to {abroad} and have a foreign number now, can you save that
? got a work phone and want the bank to use (that|its number) rather than my private one
? you text my (ex|late husband|old flat's line), that has to stop, note my own number
? which form do I need so that you (call|reach|ring) me on my new phone
? before I (cancel|give up) my old SIM I want to give you the new number
? typo in my profile: the last digit of my mobile is (wrong|a seven not a one)
? how long until a changed telephone number is (active|used) for the security texts
= my new (phone number|mobile|email)
= (updating|changing) the number you have for me
= giving you another telephone number
= the old number in my profile
= a different SIM and number for your texts
= correcting my contact number
< I gave you my new number {when}
< you already have my new mobile number
< my phone number is still the same
< my number was updated {when} (in {app}|at {place2})
< I have a new phone with the same number
< the email you have for me is right

[address_change] Moving house and telling the bank the new postal address.
? I have (moved|moved house|relocated), how do I tell you (my new address|where I live
    now)
? (we are moving|I move) to {city} next month, what do you need to (update|change) my
    details
? please send my (letters|post|mail) to {city} (now|from now on), I no longer live at
    the old place
? where can I (change|edit|correct) my (postal address|street|home address) in {app}
? you have the wrong (street|house number|postcode) for me
? after (the divorce|my marriage|leaving home) I live elsewhere, please note my new
    address
? your letters still go to (my parents|my old flat|my previous home)
? do you need (proof|a document|the rental contract) for my new home
? I'm a student and back with my parents, so the address has to be changed
? the new people in my old house (bring|forward) me your letters, time to correct that
? how to (register|record|enter) a change of residence with the bank
? we bought a house in {city}, what is the way to get our new street into your
    (records|files|system)
? can I have my post sent to (a PO box|my office|{friend}) instead of my flat
? (living|I have lived) in {abroad} since {month}, may I give you a foreign address
? my postcode is misspelled on all your envelopes
? I sold the flat in {city} {when}, here is where you find me now
? the street was renamed by the council, do you update that by yourselves
? my (mother|grandmother) went into a care home, her post should come (there|to me)
? where shall I send the form about my move
? does a change of address also apply to my (husband|wife), we share the new place
= my (move|relocation) to {city}
= (a change of|my new|updating my) address
= letters going to my old flat
= the wrong street in your records
= where you send my post
= correcting my postcode
< we moved to {city} {when} and you have the new address
< I told you my new address {when}
< my address is still the same
< I moved house, you changed that {when}
< the street and postcode you have are right
< I am not moving after all

[transfer_not_arrived] Money that I sent to somebody has not reached that person.
? I (sent|transferred|wired) {friend} {amount} {when} and (he says nothing came|it has
    not got there|she has not received it)
? {friend} is still waiting for the money I (sent|transferred|paid)
? my payment to {friend} left my account {when} but never (reached|got to) the other
    side
? the rent I (paid|transferred) has not (arrived at|reached) my landlord
? how long does it take until a transfer (is with|gets to|shows up at) {friend}
? {shop} says they have not (got|received|seen) my bank transfer
? where is the {amount} I (sent|wired) to {friend}
? my transfer is (pending|in process|under way) {since} and {friend} (gets nervous|needs
    it|is chasing me)
? money gone from my side, nothing on the side of {friend}
? I paid an invoice by transfer {when} and now get a (reminder|dunning letter) because
    it (was not received|did not come in)
? can you (trace|track|look into) an outgoing payment of {amount} that the other bank
    cannot find
? the tax office claims that my payment has not come in, you debited it {when}
? my deposit for the flat was sent {when}, the owner (sees nothing|has no trace of it)
? why is {friend} not seeing the {amount} that was taken from my account for him
? I need a proof that the money went out because {friend} (does not have it|denies
    getting it)
? instant transfer they said, (two days|a week) later {friend} still has nothing
? my daughter at university has not got the {amount} I sent her
? did my money to {friend} get (lost|stuck|held up), it was a normal transfer, right
    account number
? the recipient of my transfer is complaining, funds (not received|absent|missing) at
    their bank
? sent {amount} to {abroad} {when}, still not credited to {friend}
= money I sent that has not reached {friend}
= a transfer from me that {friend} has not received
= an outgoing payment that got stuck
= {friend} still waiting for my {amount}
= where the money I wired to {friend} is
= rent that I paid and my landlord never got
< the {amount} I sent {friend} arrived {when}
< {friend} has received my transfer
< my rent payment reached the landlord in time
< the money I wired to {friend} got there
< I sent {friend} {amount} {when}, he has it
< a transfer of mine was stuck {when}, but it has arrived

[incoming_payment_missing] Money or salary that somebody sent to me has not come in on
    my account.
? my (salary|pay|pension) (has not come in|is not on my account|is late)
? {friend} (sent|transferred|wired) me {amount} {when} and I (have not got it|do not see
    it|have received nothing)
? I am waiting for money from {friend}, it left his account {when}
? why is my (pension|student grant|child benefit) not there (yet|this month)
? {shop} says they (paid|wired) me {amount}, nothing has reached my account
? my employer has paid everyone, my account shows nothing
? a transfer to me from {abroad} has not (arrived|been credited|shown up)
? where is the {amount} that {friend} sent me
? the tax office has transferred my money {when}, I do not have it
? my tenant insists that he paid the rent to me, it is not (here|on my side|in my
    account)
? how long until money sent by {friend} (shows|appears|lands) on my account
? do you hold back a payment that was sent to me, {friend} has a receipt for it
? the insurance paid out {amount} to my account, supposedly, but my balance has not
    moved
? payday was {when} and my balance is the same as before
? expecting {amount} for my old car, the buyer transferred it {when}, not here
? my client claims the invoice was settled {when}, I see no credit
? can you (trace|find|look for) a payment of {amount} that should have come to me
? {friend} shows me proof that the money left his bank, it never got to me
? nothing has come in from the (unemployment office|university|council) and I need it
? my grandmother sent me {amount} for my birthday, it is not among my incoming payments
= money {friend} sent me that has not come in
= a transfer to me that I have not received
= my (salary|pension|wages) not being on my account
= an incoming payment that got stuck
= where the money that {friend} wired to me is
= rent that my tenant paid and I never got
< my salary (came in|arrived) {when}
< the {amount} {friend} sent me is on my account
< I have received the transfer from {friend}
< {friend} sent me {amount} {when}, I have it
< my pension was late, now it is here
< a payment to me was stuck {when}, but it has come in

[transfer_to_wrong_account] Money was sent to the wrong person or account by mistake and
    should come back.
? I (sent|transferred|wired) {amount} to the wrong (person|account|recipient)
? by mistake my money went to {friend2} instead of {friend}
? I (mistyped|mixed up) two digits of the account number and now a stranger has my
    {amount}
? how do I get money back that I sent to (someone else|somebody I do not know|the wrong
    firm)
? a typo in the account number, the transfer of {amount} has gone through, who has it
? I picked the wrong (name|contact|payee) from the list and paid {friend2}
? please (recall|reclaim|pull back) the {amount} that I (misdirected|sent astray)
? the {amount} was meant for {friend} but an old tenant has received it and does not
    answer
? paid the wrong company, same name, other city, can you (retrieve|recover) it
? is there any chance to recover a payment that landed with a stranger through my own
    fault
? what if the person who got my money by (accident|my error) will not return it
? wrong recipient! my {amount} has arrived at {friend2}, not {friend}
? I used my old landlord's account number for the rent, he has it now and I want it back
? can you ask the other bank to send back money I sent there (in error|by accident)
? autofill put in the wrong account and I only saw it after the money was
    (gone|received)
? I accidentally paid {friend2} for something that {friend} did
? my {amount} sits with somebody called nearly the same as {friend}, please get it
    returned
? I muddled up the accounts of two friends, and the wrong one has been paid
? the money did arrive, only at the wrong place: I gave a false number
? misread a handwritten account number, {amount} now belongs to who knows whom
= money I sent to the wrong (person|account)
= a transfer that went to {friend2} by mistake
= a typo in the account number of a payment that has gone through
= getting back {amount} from a stranger I paid in error
= recalling a misdirected payment
= having paid the wrong {friend3}
< I once paid the wrong person and got it back
< the money I sent to the wrong account was returned {when}
< I checked the account number, it is the right one
< {friend2} gave back the {amount} I had sent him by mistake
< I did not mistype the account number, {friend} confirmed it
< the recipient is right, I checked twice

[transfer_cancel] Cancelling a pending or scheduled transfer before it goes out.
? can I (cancel|stop|withdraw|call off) a transfer I (made|entered|scheduled) {when}
? please do not (send|execute|carry out) the transfer to {friend} that I
    (entered|planned|put in) for {when2}
? how do I (delete|remove|take out) a payment that is (scheduled|dated|planned) for
    {when2}
? I changed my mind about paying {friend}, the order (is still pending|has not gone out
    yet)
? the transfer to {shop} is set for {when2}, I (no longer want it|need to stop it)
    before it leaves
? (stop|halt|hold) the {amount} to {friend} please, it has not left my account
? I pressed send {when}, can I still (undo|take back|reverse) it while it is pending
? the sale fell through, so the {amount} waiting to go to {friend} must not be sent
? I entered the same payment to {friend} two times, please delete one before it goes out
? future-dated transfer, wrong day, how do I (drop|scrap|withdraw) it
? is it too late to stop a transfer I made (ten minutes|an hour) ago
? {friend} paid me in cash, so the transfer I set up for {when2} is unnecessary, where
    do I cancel it
? where in {app} do I revoke a payment order that is still in the queue
? the invoice from {shop} was wrong, I want to call back the transfer before it is
    processed
? my payment is waiting for {when2}, I would like to (pull|bin|void) it
? I typed {amount} too much, the transfer is still pending, please kill it
? can my pending payment to {abroad} be stopped before it goes out tonight
? not yet booked, still shown in grey: I want to (retract|rescind|abort) this transfer
? we do not buy the car after all, please keep the {amount} from going to the dealer
    {when2}
? a planned payment to {friend} should be (dropped|called off), there is no button for
    that
= (cancelling|stopping|calling off) a transfer before it goes out
= a scheduled payment I no longer want
= withdrawing a pending payment to {friend}
= deleting a transfer planned for {when2}
= a payment order in the queue that should not be sent
= undoing a transfer I have just entered
< I cancelled the transfer to {friend} {when}
< I deleted the scheduled payment in {app} {when}
< the transfer planned for {when2} should go ahead
< I wanted to stop a payment but changed my mind, it can go out
< the pending transfer was called off in time
< I am not cancelling any payment

[payment_limit] Raising, lowering or asking for the maximum amount of payments and
    withdrawals.
? how do I (raise|increase|lift|bump up) my (daily limit|transfer limit|limit)
? I need to (send|transfer|pay) {amount} for (a car|the kitchen|my wedding) and {app}
    says it is above the maximum
? what is the (most|highest amount|maximum) I can (send|transfer|take out) in one day
? the (system|app) does not allow more than {amount} at once, can that be
    (changed|higher)
? I want to take out {amount} in cash but the machine stops me at a lower sum
? may I have a higher (ceiling|cap|limit) for (one day|this week|{when2})
? my payment to {friend} is over the (limit|threshold|cap), what can I do
? exceeds your daily amount, it says, who can change that for me
? is there a (limit|ceiling) on how much I can pay out (per day|online|by phone)
? lower the maximum for transfers please, I want it (smaller|safer)
? buying a flat {when2} and have to move {amount}, how do I get round the daily cap
? can I temporarily send more than usual, just for {when2}
? I must pay my builder in one go, not in five small pieces, because of your limit
? why can I only withdraw {amount} a day, I need twice that
? I would like the limit for my (card|debit card|online payments) to be {amount}
? how much may my (son|daughter) spend per day, can I set that figure
? {app} tells me the sum is too large for a transfer, yet I have the money
? the daily allowance is used up, when does it (reset|start again), or can it be raised
? need a bigger allowance for my trip to {abroad}
? who do I ask to transfer an amount beyond what is permitted
= (raising|increasing|changing) my daily limit
= a payment above the maximum amount
= the most I can send in a day
= the cap on cash withdrawals
= sending more than {app} allows
= a higher ceiling for transfers
< my daily limit was raised {when}
< the amount is well below my limit
< I know what my maximum per day is
< you increased my limit for the car purchase {when}
< the limit is high enough for me
< I do not need a higher limit

[transfer_abroad] How to send money to another country, what it costs and which details
    it needs.
? how do I (send|transfer|wire) money to (a bank|someone|{friend}) in {abroad}
? what (details|codes|information) do I need for a (foreign transfer|payment to
    {abroad})
? do I need an IBAN or a (SWIFT|BIC) to pay {shop} in {abroad}
? what does it cost to send {amount} to {abroad}
? can I pay a (hotel|landlord|school) in {abroad} (from {app}|in their currency)
? which (rate|exchange rate) do you use when I (transfer|send) money overseas
? is it possible to wire dollars from my account to {friend} in {abroad}
? {friend} lives in {abroad}, what is the (cheapest|quickest|best) way to get money
    there
? where in {app} is the form for (international|overseas|cross-border) payments
? how many days does a payment to {abroad} normally take, I have not sent it yet
? can I choose who bears the charges for a transfer beyond the border
? I have to pay tuition in {abroad}, how do I go about that with you
? are there countries to which you do not (send|transfer) money, {abroad} for instance
? want to support family in {abroad} each month, what are the fees and what do I fill in
? the form asks for a bank code of a bank in {abroad}, what do I write there
? does a transfer in a foreign currency need a (reason|purpose|declaration)
? I bought a (boat|painting|guitar) from a seller in {abroad}, how can I pay him from
    here
? first time I send money out of the country, what should I (know|prepare|look out for)
? do you do transfers to {abroad} at all
? how would I get {amount} to {friend}, who has a bank in {abroad}
= sending money to {abroad}
= an (international|overseas) transfer
= the details needed for a payment to {abroad}
= what a transfer to another country costs
= paying somebody in {abroad} in their currency
= the SWIFT code for a foreign bank
< I know how to send money to {abroad}, I do it monthly
< I sent money to {friend} in {abroad} before and that was easy
< I have the SWIFT code and all that
< the international form was simple
< I was in {abroad} when I wrote to you {when}
< transfers to {abroad} are clear to me

[payment_charged_twice] The same purchase or bill was charged twice.
? I was (charged|billed|debited) (twice|two times|double) (by {shop}|for the same
    thing|for one purchase)
? {shop} took {amount} two times, I (bought|paid|ordered) only once
? the same payment (appears|shows up|is listed) twice on my account
? (double|duplicate) booking of {amount} at {shop}, please (undo|return|sort out) one of
    them
? why do I see {amount} for {shop} two times {when}
? the reader failed at first, so I paid again, and now both have been taken
? my rent (left|went out) twice this month although I gave one order
? one (coffee|dinner|haircut|ticket), two debits
? {shop} has collected its bill on the first and again on the third
? they put my card through the machine a second time and I paid double
? identical amounts, same day, same shop: surely (one is too many|a mistake)
? (how|can) I get back the second {amount}, I know {shop} and the first one is fine
? it seems (my insurance|the electricity company|the gym) debited the month twice
? the hotel booked the room when I reserved and once more at checkout
? I only filled the tank once, yet there are two entries for it
? paid {shop} {when}, the payment was repeated by itself an hour later
? my (statement|account|list of payments) shows a duplicate from {shop}
? the subscription renewed a second time within the (week|month)
? clicked on pay once, {amount} has gone off twice
? you have booked the (same|one) purchase at {shop} (doubly|two times), the second is
    not mine to pay
= being charged twice by {shop}
= a (double|duplicate|repeated) debit
= the same payment showing up two times
= a purchase that was booked once too often
= {shop} taking {amount} a second time
= paying double for one thing
< {shop} charged me twice {when} but gave one back
< the double debit from {shop} was corrected {when}
< I was charged only once, I checked
< the duplicate payment has been returned
< I paid two times at {shop}, both were right
< there was a double booking last year, you fixed it

[unknown_payment] An unknown payment on the account that the customer did not make or
    recognise.
? there is a payment (on my account|on my statement) I do not (recognise|know|remember
    making)
? what is this {amount} (to|from) a (company|shop|name) I have never heard of
? I did not (make|authorise|approve) the payment of {amount} to {shop}
? someone (is using|has used) my card details (online|at {shop}), I have the card with
    me
? who (took|debited|withdrew) {amount} from my account {when}
? a purchase in {abroad} appears on my account, I have never been there
? I have never (bought|ordered|signed up for) anything at {shop}, yet {amount} went
    there
? a strange (entry|debit|charge) of {amount} showed up {when}
? I want to (dispute|contest|challenge) a charge that was not me
? unknown merchant on my list of payments, what (is it|should I do)
? I was asleep when {amount} was spent with my card at {shop}
? my card is in my drawer and still there are purchases with it from {city}
? can you tell me who is behind a debit with a (cryptic|weird|meaningless) name
? neither I nor my (wife|husband) made the payment to {shop}
? several tiny charges I cannot (explain|account for|place)
? a cash withdrawal in {city} {when} that was not mine, the card never left me
? this {amount} for {shop} is not mine, (please look into it|give it back)
? a (gaming site|streaming service|dating site) I do not use has charged me
? looks like (fraud|foul play) on my account: {amount} gone to nobody I know
? going through my payments I (stumbled over|came across|spotted) one that makes no
    sense to me
= a payment I do not recognise
= a charge (that was not me|I never approved)
= an unknown debit of {amount}
= somebody using my card details at {shop}
= a withdrawal in {city} that I did not make
= a company I have never heard of taking money
< I did not recognise a payment {when}, it was my wife's
< I looked at all my payments and know every one of them
< the strange debit turned out to be {shop}
< the unknown charge was refunded {when}
< the payment to {shop} was mine
< I disputed a charge last year and won

[refund_missing] A refund that a shop promised has not come in.
? {shop} (promised|agreed|confirmed) a refund {when} and it is not (here|on my
    account|in yet)
? I (returned|sent back|took back) the (shoes|sofa|jacket|laptop) and am still waiting
    for my money
? how long does a refund from {shop} take to (show|appear|come)
? where is my refund of {amount}
? the flight was cancelled and the airline says it has (paid me back|refunded me), I see
    nothing
? {shop} reimbursed {amount} to my card, but the card was (replaced|cancelled), where
    does it go
? my refund (is missing|has not come|never turned up)
? the (concert|trip|course) was called off, they gave the money back to my card, not
    arrived
? they say the credit was issued {when}, nothing of it on my account
? the deposit for the rental car should be back with me by now
? I cancelled an order at {shop}, money was taken, money did not come back
? {shop} took {amount} and swears it has returned it
? waiting {since} for {shop} to be credited back to me
? can you check whether {shop} has given me back the {amount}
? the hotel releases the hold, they claim, and I still do not have it back
? they refunded only half, or the rest has not come in
? I sent the goods back to {shop}, got the confirmation, but no reimbursement
? the shop tells me to ask my bank for my refund, so I ask
? overpaid my electricity, they returned {amount} {when}, it has not shown up
? my money for the (faulty|broken|unwanted) (kettle|phone|chair) is yet to be returned
    to the card
= a refund that has not come in
= the {amount} that {shop} promised to pay back
= money for goods I returned
= a reimbursement from {shop} still missing
= waiting for {shop} to give my money back
= the refund of a cancelled flight
< the refund from {shop} came in {when}
< {shop} has paid me back
< I returned the shoes and got my money
< I am not asking for a refund
< {shop} will refund me next week, they say, and that is fine
< the airline reimbursed me {when}

[stop_regular_payment] Stopping a direct debit, standing order or other regular payment.
? how do I (cancel|stop|end) a direct debit (to|for|from) {shop}
? please stop the (monthly|weekly|regular) payment to {friend}
? I left the gym, they should not (collect|take|debit) anything any more
? I want to (end|terminate|delete) my standing order for the (rent|savings|allowance)
? {shop} (keeps taking|still collects) money each month although I have cancelled there
? where in {app} can I (revoke|withdraw) the permission for {shop} to debit me
? can I block a company from collecting {amount} every month
? I moved out, the rent must not go out again next month
? no more payments to the (charity|magazine|club) from now on please
? I have set up a monthly transfer to {friend} and want to (stop|discontinue) it
? the loan to {friend} is repaid, so the standing order can go
? how do I get rid of a subscription that is debited from my account
? please (cease|discontinue|end) the yearly debit for {shop}, I do not want it renewed
? is it enough to cancel at {shop} or do I have to stop the debit with you too
? from {month} on the monthly {amount} to {friend} should not be (paid|sent) any longer
? my insurance is over, how can I (forbid|prevent) further collections
? I would like to cancel the automatic payment, not just one, all of them
? the standing order for my daughter's pocket money ends now, she has a job
? take the electricity company off the list of those who may debit me
? (switched|changed) supplier, the old one must not collect any more
= (stopping|cancelling|ending) a direct debit
= a standing order that should not go on
= {shop} still collecting money every month
= ending the monthly payment to {friend}
= withdrawing a permission to debit me
= a subscription I want to stop
< I ended the direct debit to {shop} {when}
< I stopped the standing order to {friend} {when}
< {shop} no longer debits me
< the monthly payment to {friend} should stay as it is
< I cancelled my gym, and they do not collect any more
< I do not want to stop any debit

[set_up_regular_payment] Setting up a new standing order, monthly payment or direct
    debit.
? how do I (set up|create|arrange|start) a standing order
? I want to (send|pay) {friend} {amount} (every month|each Friday|once a quarter) from
    now on
? can I have my rent (paid|sent) automatically on the first of the month
? where in {app} can I (make|enter) a (regular|recurring|repeating) payment
? how can I let {shop} (collect|debit) the bill from my account in future
? I'd like to put aside {amount} each month automatically into savings
? please help me to (begin|establish) a monthly transfer to {friend}
? from {month} my landlord should get {amount} on the third of each month
? what do I need to pay {shop} by direct debit rather than by hand
? is it possible to schedule a payment that (repeats|recurs) every week
? I keep forgetting the rent, could it go out by itself
? new gym wants to take its fee by debit, how do I give permission
? I want my son to get pocket money automatically, every Sunday
? can a standing order (begin|start) in the middle of the month
? after the old one ended I would like a new standing order, to {friend} this time
? the nursery asks for a regular transfer, which option do I choose
? every month I type in the same payment, is there an automatic way
? how soon does a newly made recurring order run for the first time
? set me up with a repeating {amount} to {friend}, please, starting {when2}
? I took out an insurance, and want its premium collected from this account
= setting up a (standing order|direct debit)
= a new (regular|recurring|monthly) payment to {friend}
= paying my rent automatically from now on
= starting a monthly transfer
= giving {shop} permission to debit my account
= automatic saving each month
< I set up a standing order to {friend} {when}
< my rent goes out automatically, that works
< the new direct debit for {shop} is in place
< I made a monthly payment for my son {when}
< I do not want to set up a regular payment
< the standing order started {when} as planned

[scam_report] Reporting a scam, a fake call or message, or a swindler who was paid.
? I got a (call|text|mail) from (someone|a man|a woman) who (said he was|pretended to
    be|claimed to be) from the bank
? I think I (fell for|have been taken in by) a (scam|trick|swindle)
? I gave my (password|card number|PIN) to a (caller|website|stranger) who was not you
? is this (text|mail|letter) really from you, it wants me to (click|confirm my card|log
    in)
? I paid {amount} for a (flat|phone|puppy) that does not exist
? a fake (policeman|bank clerk|technician) made me transfer {amount}
? they told me my account was in danger and I should move my money, now I doubt it
? I clicked on a link about a blocked card and entered everything, (help|what now)
? {friend} wrote from a new number asking for {amount}, I paid, it was not {friend}
? someone let me install a program and then watched me log in
? the seller took my {amount} and (disappeared|no longer answers|deleted his page), it
    was a (sham|con)
? a message says my card will be locked unless I type in my PIN, that smells fishy
? I want to report a (fraudulent|phoney|bogus) message in your name
? I was (conned|duped|hoodwinked|tricked) into sending {amount} to a swindler
? did you just ring me about a transfer, or was that a crook
? the online love of my mother asks her for money, and she has sent {amount}
? someone promised me huge profits and now will not pay out my money
? read the one-time code to a caller, who do I warn
? a courier wanted to fetch my card, sent by the bank, he said, was that you
? I confirmed something in {app} because a voice on the phone told me to
= a (scam|swindle|con) I fell for
= a caller who pretended to be from the bank
= a suspicious (text|mail) in your name
= having given my details to a fraudster
= paying for something that does not exist
= a fake message asking for my PIN
< a swindler rang me {when} but I hung up
< I reported the scam {when} and it is with your fraud team
< I know that it was you who called and not a fraudster
< I did not fall for the fake text about my card
< I have not given my code to anyone
< this is not about fraud

[cash_machine_paid_too_little] A cash machine paid out too little or no cash, but the
    account was debited.
? the machine gave me (less|only half|too little), but {amount} was taken from my
    account
? I (wanted|asked for|typed in) {amount} and the ATM (paid out nothing|gave me
    less|stayed shut), still it was debited
? no (cash|money|notes) came out of the machine and my account is down {amount}
? the (cash point|ATM) at {place2} (counted wrong|was short|cheated me)
? I got {amount} too little from the cash machine
? withdrawal booked, (drawer|flap|shutter) never opened
? my account shows {amount} in cash taken {when}, the machine kept the notes
? the notes were pulled back in before I could take them and the sum is gone from my
    account
? the ATM made noises, gave me the card back and no banknotes, you debited me though
? how do I get back money that the machine did not pay out
? a twenty was missing from what I withdrew {when}
? I counted the notes from your machine, it is not the {amount} on the receipt
? it said sorry, out of service, and yet {amount} was deducted
? tried to withdraw in {abroad}, machine empty, account charged
? the dispenser handed over three notes where there should have been five
? only part of my withdrawal came out at {place2}
? the cash was not dispensed, my balance says otherwise
? your machine owes me {amount}, it never gave it to me {when}
? withdrew {amount}, received nothing but a receipt
? the ATM jammed while counting, then gave up, and my money is booked as paid
= a machine that (paid out too little|gave me no cash)
= a cash withdrawal that was debited and never came out
= notes missing from a withdrawal
= money the ATM kept though it was booked
= getting {amount} less than I asked for at the machine
= an ATM that counted wrong
< I took out {amount} {when} and the machine paid it all
< the machine gave me the right sum
< I counted the notes, all there
< the machine paid too little {when} but you credited the rest
< I withdrew cash at {place2} without trouble
< the ATM was short once, that is settled

[cash_deposit_missing] Cash or a cheque that was paid in is not credited to the account.
? I (paid in|deposited|put in) {amount} (in cash|at the machine|at {place2}) {when} and
    it is not on my account
? my cash deposit (does not show|is missing|has not been credited)
? the machine took my notes and (crashed|froze|shut down), nothing was credited
? how long does a cheque take until it is on my account
? I handed {amount} over at the counter {when}, my balance is unchanged
? the (deposit machine|ATM) counted less than what I put in
? paid in the takings of my stall, only part of it was booked
? where is the cheque that I (sent|gave|dropped off) {when}
? I fed {amount} in notes into the machine, it swallowed them and showed an error
? coins from my (piggy bank|jar|till) were counted at {place2}, they never came up on my
    account
? put cash into my account {when}, still not there
? the slot kept my banknotes, no receipt, no credit
? your clerk took my money {when} to pay it in and I see no entry
? I have a receipt for a deposit of {amount} and no {amount} on my account
? the cheque from {friend} cleared {when}, they said, I do not see it
? some notes were rejected, some vanished, and my account got nothing
? my deposit was credited to somebody else, or at any rate not to me
? how come the cash I brought in is not available yet
? the machine gave me a slip about {amount} less than I had paid in
? a night-safe bag with {amount} was dropped in {when} and has not been booked
= cash I paid in that does not show up
= a missing (deposit|cheque)
= a machine that took my notes without crediting them
= {amount} that I handed in at the counter
= a cheque that has not been credited
= the deposit machine counting less than I put in
< I paid in {amount} {when} and it is on my account
< my cheque was credited {when}
< the deposit showed up at once
< I paid cash in at {place2}, all booked
< the machine counted my notes right
< my missing deposit was found {when}

[fee_question] Why the bank charged a fee or interest, and what its services cost.
? why did you (charge|take|deduct) a fee of {small}
? what is the {small} (monthly charge|service charge|account fee) for
? I was told the account is free and now you (want|took) {small}
? please explain the (interest|charges|costs) on my (statement|account)
? why do I pay for (withdrawing cash|using a machine in {abroad}|a card payment in
    {abroad})
? the fee for my overdraft seems (too high|wrong), how is it worked out
? how much do you charge for (an account|a second card|paper letters)
? I do not agree with the (fee|charge|penalty) of {small} you took {when}
? can you (waive|refund|return|give back) the charge for going overdrawn by a day
? you deducted {small} at the end of the month, what is it
? have your prices gone up, my account costs more than before
? what will it cost me if I (take out cash|pay by card) in {abroad}
? are there charges when money comes in from {abroad}
? you charged {small} for sending a letter, seriously
? I would like a list of all fees that apply to my account
? the conversion charge on my holiday purchases, why so (steep|much|hefty)
? is the account free for students or why was {small} taken from my son
? the bank took {small} as a returned-payment fee, explain please
? you keep (nibbling at|chipping away at) my balance with little charges, what are they
    all
? since when does a transfer cost {small} with you
= a (fee|charge) of {small} you took
= the monthly charge for my account
= what you charge for cash in {abroad}
= the interest you calculated
= getting a fee back
= your prices
< you returned the fee of {small} {when}
< the monthly fee is fine with me
< I know what the account costs
< the charge of {small} was explained to me {when}
< I do not mind the fee
< the fee for the transfer was right

[overdraft] Asking for an overdraft, to go below zero, or for a change of its size.
? can I (get|have|apply for) an overdraft
? I need to go (below zero|into the red|a bit overdrawn) until payday, is that possible
? please (raise|increase|extend) my overdraft to {amount}
? my salary comes {when2}, could you let me spend a bit more than I have
? how far may I go into the minus
? I (want|would like) a small credit line on my account, {amount} or so
? my account is empty and rent is due, can you (tide me over|bridge the gap)
? what do I need to do to be allowed to overdraw my account
? is there an arranged overdraft on my account and how big is it
? please take away my overdraft, I do not want to be able to (slip|go) into debt
? could my overdraft be (cut|reduced|halved) to {amount}
? how do I ask for a buffer of {amount} below zero
? a bill came early, may my balance go negative for a week
? do you offer short borrowing on the current account, nothing big
? I am self-employed and paid late, would you grant me leeway of {amount}
? my request for an overdraft was turned down, can I ask again
? what are the conditions for spending money that is not there yet
? my wife and I want to dip under zero now and then, does the joint account allow it
? need {amount} for a fortnight without taking a proper loan
? which papers do you want to see before you give me an overdraft
= (getting|applying for) an overdraft
= going below zero until payday
= a higher overdraft
= being allowed to be in the red
= a small credit line on my account
= cutting my overdraft
< you gave me an overdraft {when}
< my overdraft was raised {when}
< my account is not overdrawn
< I do not need an overdraft
< I was in the red {when} but I am back above zero
< I have no plans to borrow money

[account_close] Closing an account or leaving the bank.
? I want to (close|shut|terminate|end) my account
? how do I (leave|quit|say goodbye to) your bank
? please (cancel|dissolve|wind up) the savings account I do not use
? I am switching to another bank, what must I do to be rid of this account
? what happens to the (rest|balance|remaining {amount}) when I end the account
? can I close the account in {app} or do I have to come to {place2}
? my (mother|father|husband) has died and his account should be closed
? we have two accounts and need one, please shut the other
? is there a notice period for ending my account
? I am leaving the country for good and no longer need an account here
? I no longer wish to be your customer
? how long does it take until an account is (deleted|gone|closed)
? after the divorce we would like to dissolve our joint account
? please confirm in writing that my account has been (closed|ended), I asked {when}
? may an account with a minus be closed
? the account of our club has had no use since {month}, we would like to give it up
? I've had enough of you, where do I sign out for good
? do I have to stop the standing orders first before the account can be ended
? my new bank wants a closing letter from you, how do I start that
? get rid of my second account please, the one with {small} on it
= (closing|ending|giving up) my account
= leaving the bank
= an account I no longer need
= switching to another bank for good
= shutting down the savings account
= the notice period for my account
< I closed my other account {when}
< I had thought of leaving the bank but I stay
< I do not want to close my account
< my old account was shut {when}
< my late father's account has been closed
< I came to you from another bank {when}

[account_statement] Getting account statements, a list of payments or a written
    certificate.
? I need (a statement|my statements|an overview) for {month}
? how can I (download|print|get) a list of my payments (of the year|since {month}|for my
    tax)
? the (landlord|visa office|tax adviser) wants proof (of my account|of my income|that I
    bank with you)
? could you send my statements on paper
? where do I find old statements in {app}
? I require a written confirmation of my balance
? a (certificate|document|paper) about the interest I got last year please
? the statement for {month} is missing in {app}
? my accountant asks for all payments to {shop} in one file
? can I go back further than a year in the list of transactions
? please stop sending paper, I want my statements electronically
? I need a receipt for the {amount} I sent to {friend}, stamped by the bank
? to apply for a flat I have to show three months of account movements
? the file with the statement will not open
? may I have a letter saying that my account is in good order
? I never got the yearly summary for my tax
? need my account documents in another language for an office in {abroad}
? print-outs of {month} and {month}, how do I get them, the machine at {place2} is out
    of paper
? could someone mail me an overview of everything paid in and out since {month}
? for the mortgage I am asked for certified extracts, do you issue them
= a statement for {month}
= written proof of my balance
= old statements
= an overview of my payments for the tax
= a certificate about my account
= getting my statements on paper
< I have the statement of {month} before me
< I downloaded my statements {when}
< you sent me the certificate {when}
< the statement for {month} came in the post
< I went through my statements {when}
< I do not need anything on paper

[loan_repayment] Repaying a loan or mortgage early or changing its instalments.
? can I (pay off|repay|settle) my loan (early|ahead of time|before the end)
? what would it cost to (clear|redeem|finish off) the mortgage now
? I inherited {amount} and want to put it into my loan
? how much is (left|still owed|outstanding) on my loan
? is there a penalty for paying back the credit sooner
? please lower my monthly instalment, it is (too high|a strain) at present
? I'd like to pay a bigger rate on the loan each month
? can I pause the repayments for (two months|a while), I lost my job
? extra payment of {amount} on my mortgage, how do I make it
? I want to be debt-free by {month}, what sum would close the loan
? how do I move the day on which the loan instalment is taken
? the instalment was due {when}, I could not pay, what happens now
? we are selling the house and have to redeem the loan on it
? may I shorten the term of my car loan
? which figure do I have to transfer to be rid of the loan
? I would like to skip one rate because of an unexpected bill
? can the bank stretch my loan over more years
? does a lump sum bring down my interest or my term
? my bonus came in and I want to get shot of the debt on the car
? can {friend} take over the rest of my loan
= (repaying|paying off) my loan early
= the sum still owed on the mortgage
= an extra payment into my loan
= lower instalments
= pausing the loan repayments
= the penalty for redeeming a credit early
< I paid off my loan {when}
< the loan instalment went out {when} as it should
< my mortgage is running fine
< I have no loan with you
< the rest of the loan was settled {when}
< I put {amount} extra into the loan {when}
"""

# Near neighbours: a settled mention is drawn from the same family half of the time, so
# that the words of the question and those of the mention point to related intents.
FAMILIES = """
card_lost card_stolen card_not_arrived card_activation card_kept_by_machine
    card_payment_declined card_unblock
pin_forgotten pin_change login_problem security_code_missing phone_number_change
    address_change
transfer_not_arrived incoming_payment_missing transfer_to_wrong_account transfer_cancel
    payment_limit transfer_abroad
payment_charged_twice unknown_payment refund_missing scam_report
stop_regular_payment set_up_regular_payment transfer_cancel loan_repayment
cash_machine_paid_too_little cash_deposit_missing card_kept_by_machine
fee_question overdraft account_close account_statement loan_repayment
"""

SLOTS = {
    "shop": "the bakery|the garage|the chemist|the supermarket|a petrol station"
    "|the garden centre|the shoe shop|a hotel|the florist|the airline|a bookshop"
    "|the gym|a furniture store|the vet|the optician|the butcher|a pizzeria"
    "|the nursery|the hairdresser|a phone company|the ironmonger|the bicycle shop"
    "|the cinema|a streaming service|the dentist|the toy shop|the greengrocer",
    "friend": "my sister|my landlord|my cousin|my brother|my flatmate|my mother"
    "|a colleague|my builder|my neighbour|my daughter|my uncle|my ex|my tenant"
    "|my dad|my niece|the plumber|my godson|an old friend|my aunt|our au pair"
    "|my business partner|my gardener|the caretaker",
    "friend2": "a former colleague|some stranger|another customer|my old landlord"
    "|a firm I do not know|a namesake|an ex-boyfriend|the previous tenant|my dentist",
    "friend3": "cousin|plumber|supplier|colleague|neighbour|landlord",
    "amount": "£40|85 pounds|£120|two hundred|£350|1,500 pounds|sixty quid|£900"
    "|four hundred|£2,300|75 pounds|£18.50|ninety pounds|£640|a thousand|£260"
    "|five grand|£33|one hundred and ten|£480",
    "small": "£3|£4.50|seven pounds|£12|two pounds fifty|£1.75|£9|fifteen pounds",
    "when": "yesterday|on Monday|last night|this morning|two days ago|last week"
    "|over the weekend|on Friday|the other day|ten days ago|just now|last month"
    "|on the 3rd|a fortnight ago|before Easter|around noon",
    "when2": "tomorrow|next week|on Thursday|next month|at the weekend|on the 15th|in a few days|on the first",
    "since": "since Tuesday|for a week|for three days|since last month|for ages|for a fortnight|since the 4th",
    "day": "Sunday|Wednesday|yesterday|the update|Christmas|last week",
    "place": "on the bus|at the station|in a taxi|at the beach|on the train"
    "|at the market|in the park|at a festival|in the library|at the airport"
    "|on the ferry|in a pub|at the swimming pool",
    "place2": "the branch|your branch in town|the one by the church"
    "|the shopping centre|the railway station|the high street|the post office",
    "city": "Leeds|Bristol|Cardiff|York|Dundee|Exeter|Norwich|Belfast|Oxford|Hull",
    "abroad": "Norway|Japan|Portugal|Kenya|Canada|Turkey|Brazil|Poland|India|Greece|Mexico|Iceland|Vietnam|the States",
    "month": "January|March|April|June|August|September|November",
    "app": "the app|online banking|internet banking|your app|the mobile app",
}

OPENINGS = """
Hello
Hi
Hi there
Good morning
Good evening
Hey
Dear team
Dear bank
Hello again
Quick question
Excuse me
Sorry to bother you
One more thing
Urgent
Help
Afternoon all
"""

CLOSINGS = """
Thanks
Thank you
Many thanks
Cheers
Please reply soon
Please advise
Any help is welcome
It is rather urgent
I am getting worried
Waiting for your answer
No hurry
Ta
Sorry for the long message
That would be great
Not amused
"""

# Clauses that carry no intent at all.
STORIES = """
I have been a customer for (eleven|six|twenty) years
I am not very good with (computers|phones|these things)
I tried the phone line and (gave up after half an hour|nobody picked up)
I am at work and can only (write|chat), not call
we have (a new baby|guests|the builders) in the house and I have little time
your colleague at {place2} sent me here
I could not find this in the help pages
I am (travelling|on holiday|on a business trip) in {abroad} at the moment
my English is not perfect, sorry
I am asking for {friend}, who does not use the internet
the chat robot did not understand me
the music on your hotline is awful
it is raining and I do not want to walk to {place2}
I have a (job interview|wedding|flight) {when2} and want this out of the way
"""

# {t}: the topic that is asked for.
ABOUT = """
I need help with {t}
this is about {t}
I have a question about {t}
could someone call me about {t}
whom do I talk to about {t}
my message is about {t}
what do I do about {t}
I would like some advice on {t}
who at your bank deals with {t}
once more I write about {t}
any news on {t}
"""

# {t}: the topic that is asked for, {n}: one that is not.  Both orders occur, so that
# neither the place nor the words alone tell which of the two is meant.
CONTRAST = """
this is about {t}, not {n}
this is not about {n}, it is about {t}
I do not mean {n}, I mean {t}
I mean {t} and not {n}
you thought it was {n}, but I asked about {t}
I asked about {t}, but you told me about {n}
{n} is settled, what remains is {t}
{t} is what remains, {n} is settled
instead of {n} I want to talk about {t}
I want to talk about {t} instead of {n}
last time I wrote about {n}, today it is {t}
today it is {t}, last time I wrote about {n}
forget {n}, I need help with {t}
I need help with {t}, forget {n}
your answer was about {n}, my question was about {t}
my question was about {t}, your answer was about {n}
you keep on about {n}, all I want to discuss is {t}
thanks for the help with {n}, now please help with {t}
please help me with {t}, and thanks for the help with {n}
"""
