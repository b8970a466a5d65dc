"""What guessers try first: the passwords and words most often found in leaked lists, in small letters.

Chosen from what published rankings agree on; each stands for its variants too (capitals, digits for letters, digits
and signs before or behind).
"""

_TEXT = """
123456 1234567 12345678 123456789 1234567890 12345 123123 1234 111111 000000 654321 666666 121212 112233 123321 777777
888888 999999 555555 222222 696969 987654321 7777777 88888888 11111111 00000000 147258369 159753 1q2w3e 1q2w3e4r
1q2w3e4r5t 1qaz2wsx qazwsx qazwsxedc zaq12wsx q1w2e3r4 qwerty qwertz azerty qwertyuiop qwertzuiop asdfgh asdfghjkl
asdf zxcvbn zxcvbnm yxcvbnm password passwort passwd pass passw0rd passphrase mypassword yourpassword thepassword
newpassword oldpassword password1 secret geheim kennwort contrasena contraseña motdepasse senha parola haslo heslo
salasana wachtwoord lozinka parole admin administrator root user guest test testing tester demo default login logon
welcome willkommen bienvenue bienvenido hello hallo bonjour hola hi letmein letmein1 openup open opensesame sesame
access master masterkey changeme change secure security private backup vault vaultfs gocryptfs cryptomator encfs
securefs cryfs encrypted encryption crypto cipher keyfile recovery archive storage whatsapp telegram signal messages
photos pictures media phone mobile android iphone samsung apple google facebook instagram youtube twitter netflix
amazon microsoft windows linux ubuntu debian fedora internet computer server database system network wireless dropbox
nextcloud iloveyou ilovey loveyou loveme love lover lovely mylove forever family mother father mommy daddy mama papa
baby babygirl babyboy princess prinzessin prince queen king angel angels heaven jesus christ jesuschrist god godisgood
blessed faith amen sunshine sonnenschein moonlight starlight rainbow flower flowers butterfly schmetterling summer
winter spring autumn sommer herbst fruehling january february march april may june july august september october
november december januar februar maerz juni juli oktober dezember monday tuesday wednesday thursday friday saturday
sunday montag dienstag mittwoch donnerstag freitag samstag sonntag monkey dragon tiger lion eagle falcon panther wolf
bear shark dolphin horse pony kitten cat dog puppy doggy bunny rabbit turtle elephant chicken snoopy garfield football
fussball soccer baseball basketball hockey tennis golf rugby cricket futbol liverpool arsenal chelsea manchester
united barcelona realmadrid juventus bayern schalke dortmund benfica porto superman batman spiderman ironman hulk
starwars skywalker vader yoda matrix pokemon pikachu naruto minecraft fortnite roblox mario zelda harrypotter hogwarts
gandalf frodo hobbit trustno1 whatever nothing something anything everything freedom liberty fuckyou fuckoff fuck
asshole bitch shit bullshit sexy sex pussy hottie shadow hunter killer ninja samurai warrior soldier sniper ranger
pirate wizard magic mystery phoenix thunder lightning storm fire ice ocean beach mountain mustang ferrari porsche
mercedes corvette camaro toyota honda yamaha harley bmw audi ford chevy jeep ducati charlie michael michelle jennifer
jessica ashley nicole daniel andrew joshua matthew anthony robert thomas george jordan taylor hannah amanda samantha
elizabeth victoria stephanie alexander alexandra maria anna marie laura julia sarah sandra andrea martin stefan peter
jonas lukas felix max leon paul anton emma mia sophie lena lea maximilian christian sebastian patrick oliver william
james john david richard joseph charles christopher jonathan benjamin nathan pepper ginger cookie chocolate schokolade
cheese coffee banana orange apple strawberry cherry peanut butter pizza sweet sugar honey candy sweetie sweetheart
darling purple yellow green blue black white silver golden diamond crystal london paris berlin madrid roma newyork
america england germany deutschland france espana italia brasil mexico canada china japan india australia russia
russland moscow turkey istanbul metallica nirvana slipknot eminem beatles rammstein guitar music dance singer star
superstar genius hacker player gamer lucky winner champion legend hero asdasd qweqwe qwe123 abc abcd abcde abcdef
abcdefg abcdefgh abcabc aaaaaa zzzzzz abc123 a1b2c3 123abc 123qwe admin123 root123 test123 pass123 hello123 love123
qwerty123 welcome123 correcthorsebatterystaple troubador tr0ub4dor
"""

COMMON: frozenset[str] = frozenset(_TEXT.split())
