package practice

// The invented people and places. Tables only; some names are not ASCII because real ones are not.

var familyNames = []string{
	"Abbott", "Adeyemi", "Ahmed", "Ali", "Anderson", "Andersson", "Baker", "Banerjee", "Barrett", "Begum", "Bell", "Bianchi",
	"Birch", "Bjørnsen", "Brown", "Burke", "Byrne", "Campbell", "Carter", "Castañeda", "Chan", "Chandra", "Chen", "Clarke",
	"Cohen", "Collins", "Cooper", "Costa", "Cruz", "D'Angelo", "Davies", "Dhillon", "Díaz", "Doyle", "Edwards", "El-Sayed",
	"Evans", "Faulkner", "Fernández", "Fischer", "Fitzgerald", "Fleming", "Foster", "Fraser", "García", "Gibson", "Gordon",
	"Graham", "Grant", "Green", "Gupta", "Hall", "Hamilton", "Hansen", "Harris", "Hughes", "Hussain", "Ibrahim", "Ivanova",
	"Jackson", "Jansen", "Jones", "Jørgensen", "Kapoor", "Kaur", "Kelly", "Kennedy", "Khan", "Kim", "King", "Kovács",
	"Kowalski", "Lam", "Larsen", "Lee", "Lewis", "Li", "López", "MacDonald", "Marshall", "Martin", "Mbeki", "McCarthy",
	"Mendoza", "Mitchell", "Mohamed", "Moore", "Morgan", "Müller", "Murphy", "Nakamura", "Ng", "Nguyễn", "Novák", "O'Brien",
	"O'Connor", "Okafor", "Olsen", "Ozturk", "Palmer", "Papadopoulos", "Patel", "Pereira", "Petrov", "Phillips", "Popescu",
	"Quinn", "Rahman", "Reid", "Reyes", "Roberts", "Robinson", "Rossi", "Ryan", "Salazar", "Santos", "Schmidt", "Schröder",
	"Scott", "Shah", "Sharma", "Silva", "Singh", "Smith", "Söderberg", "Stewart", "Sullivan", "Suzuki", "Tan", "Taylor",
	"Thompson", "Tran", "Turner", "Van der Berg", "Vasquez", "Walker", "Wang", "Watson", "White", "Williams", "Wilson",
	"Wong", "Wright", "Yamada", "Yılmaz", "Young", "Zając", "Zhang", "Zielińska",
}

var womenNames = []string{
	"Aaliyah", "Abigail", "Aisha", "Alice", "Amelia", "Amina", "Ana", "Anjali", "Anna", "Ava", "Beatriz", "Bronwyn",
	"Caitlin", "Camille", "Carmen", "Charlotte", "Chloé", "Clara", "Daniela", "Deborah", "Elena", "Elif", "Elizabeth",
	"Emma", "Esther", "Fatima", "Fiona", "Freya", "Georgia", "Grace", "Hannah", "Helen", "Imogen", "Ingrid", "Isabel",
	"Jacinta", "Jane", "Joan", "Karen", "Kirra", "Lakshmi", "Laura", "Leila", "Lucía", "Margaret", "María", "Matilda",
	"Mei", "Mia", "Nadia", "Naomi", "Niamh", "Olivia", "Patricia", "Penelope", "Priya", "Rachel", "Rosa", "Ruby", "Sana",
	"Sarah", "Siobhán", "Sofía", "Susan", "Tamsin", "Thi", "Ursula", "Valentina", "Wendy", "Xin", "Yasmin", "Zoë",
}

var menNames = []string{
	"Aaron", "Ahmed", "Alan", "Alejandro", "Andrew", "Anh", "Antonio", "Arjun", "Benjamin", "Björn", "Bruce", "Carlos",
	"Charles", "Connor", "Daniel", "David", "Declan", "Dimitri", "Edward", "Emeka", "Ethan", "Farid", "Finn", "François",
	"George", "Giovanni", "Hamish", "Harold", "Hassan", "Hiroshi", "Hugo", "Ian", "Ibrahim", "Isaac", "Jack", "James",
	"Jarrah", "João", "John", "José", "Kevin", "Kwame", "Lachlan", "Liam", "Luca", "Malcolm", "Marek", "Mateo", "Michael",
	"Mohammed", "Nathan", "Noah", "Oliver", "Omar", "Oscar", "Patrick", "Paul", "Peter", "Rajesh", "Raúl", "Robert",
	"Samuel", "Seán", "Stefan", "Søren", "Thomas", "Tomasz", "Victor", "Walter", "Wei", "William", "Xavier", "Yusuf", "Zac",
}

var streetNames = []string{
	"Acacia", "Albert", "Banksia", "Barkly", "Beach", "Bridge", "Cedar", "Chapel", "Church", "Clarendon", "Coolibah", "Cross",
	"Daintree", "Elizabeth", "Farm", "Fern", "George", "Gordon", "Grevillea", "Harbour", "High", "Hill", "Jacaranda", "King",
	"Kurrajong", "Lake", "Latrobe", "Main", "Market", "Mill", "Murray", "Nelson", "Orchard", "Park", "Princes", "Queen",
	"Railway", "River", "Rose", "Saltbush", "School", "Spring", "Station", "Stirling", "Tallow", "Union", "Victoria",
	"Waratah", "Wattle", "William", "Windsor", "York",
}

var streetKinds = []string{"Street", "Road", "Avenue", "Crescent", "Lane", "Parade", "Court", "Drive", "Terrace", "Place"}

var places = [][3]string{
	{"Ashgrove Hill", "QLD", "4961"}, {"Banyan Creek", "NT", "0899"}, {"Birchwater", "VIC", "3986"}, {"Callowie", "NSW", "2992"},
	{"Dunmallet", "SA", "5961"}, {"East Birchwater", "VIC", "3987"}, {"Fernlea", "TAS", "7981"}, {"Gillamatta", "NSW", "2993"},
	{"Harrow Bay", "WA", "6981"}, {"Irongate", "SA", "5962"}, {"Jindaroo", "NSW", "2994"}, {"Kestrel Point", "QLD", "4962"},
	{"Lower Wantana", "VIC", "3988"}, {"Mount Corella", "QLD", "4963"}, {"Nettleford", "TAS", "7982"}, {"Old Quarry", "ACT", "2699"},
	{"Port Merrin", "VIC", "3989"}, {"Quandong", "WA", "6982"}, {"Redbank Junction", "NSW", "2995"}, {"Stillwater", "VIC", "3990"},
}

var practitioners = []string{
	"Dr A. Whitlock", "Dr B. Narayanan", "Dr C. O'Halloran", "Dr D. Petrakis", "Dr E. Lindqvist", "Dr F. Abdi", "Dr G. Moreau",
	"Dr H. Tanaka", "Dr I. Castellano", "RN J. Parkes", "RN K. Villanueva", "RN L. Strand",
}

type drug struct{ name, code, dose, unit, use string }

// Codes are invented and marked so; names are international non-proprietary names.
var drugs = []drug{
	{"amoxicillin 500 mg capsule", "X-AMOX500", "one capsule three times a day for 7 days", "capsule", "infection"},
	{"apixaban 5 mg tablet", "X-APIX5", "one tablet twice a day", "tablet", "atrial fibrillation"},
	{"amlodipine 5 mg tablet", "X-AMLO5", "one tablet in the morning", "tablet", "hypertension"},
	{"atorvastatin 40 mg tablet", "X-ATOR40", "one tablet at night", "tablet", "hyperlipidaemia"},
	{"budesonide-formoterol 200/6 inhaler", "X-BUDF200", "two puffs twice a day", "puff", "asthma"},
	{"cefalexin 500 mg capsule", "X-CEFA500", "one capsule four times a day for 5 days", "capsule", "cellulitis"},
	{"citalopram 20 mg tablet", "X-CITA20", "one tablet in the morning", "tablet", "depression"},
	{"doxycycline 100 mg tablet", "X-DOXY100", "one tablet a day with food for 7 days", "tablet", "chest infection"},
	{"empagliflozin 10 mg tablet", "X-EMPA10", "one tablet in the morning", "tablet", "type 2 diabetes"},
	{"frusemide 40 mg tablet", "X-FRUS40", "one tablet in the morning", "tablet", "heart failure"},
	{"gabapentin 300 mg capsule", "X-GABA300", "one capsule at night, increase as tolerated", "capsule", "neuropathic pain"},
	{"insulin glargine 100 units/mL pen", "X-GLAR100", "18 units at night", "unit", "type 2 diabetes"},
	{"levothyroxine 75 microgram tablet", "X-LEVO75", "one tablet before breakfast", "tablet", "hypothyroidism"},
	{"metformin XR 1 g tablet", "X-METF1000", "one tablet with the evening meal", "tablet", "type 2 diabetes"},
	{"methotrexate 10 mg tablet", "X-METH10", "one tablet ONCE A WEEK on Mondays", "tablet", "rheumatoid arthritis"},
	{"mirtazapine 15 mg tablet", "X-MIRT15", "one tablet at night", "tablet", "depression"},
	{"naproxen 500 mg tablet", "X-NAPR500", "one tablet twice a day with food when needed", "tablet", "joint pain"},
	{"pantoprazole 40 mg tablet", "X-PANT40", "one tablet before breakfast", "tablet", "reflux"},
	{"paracetamol 665 mg MR tablet", "X-PARA665", "two tablets three times a day", "tablet", "osteoarthritis"},
	{"perindopril 5 mg tablet", "X-PERI5", "one tablet in the morning", "tablet", "hypertension"},
	{"prednisolone 25 mg tablet", "X-PRED25", "one tablet a day for 5 days, then stop", "tablet", "asthma flare"},
	{"rosuvastatin 10 mg tablet", "X-ROSU10", "one tablet at night", "tablet", "hyperlipidaemia"},
	{"salbutamol 100 microgram inhaler", "X-SALB100", "two puffs when needed, up to four times a day", "puff", "asthma"},
	{"sertraline 50 mg tablet", "X-SERT50", "one tablet in the morning", "tablet", "anxiety"},
	{"tiotropium 18 microgram capsule", "X-TIOT18", "inhale one capsule a day", "capsule", "COPD"},
	{"trimethoprim 300 mg tablet", "X-TRIM300", "one tablet at night for 3 days", "tablet", "urinary infection"},
	{"warfarin 5 mg tablet", "X-WARF5", "as directed by the INR", "tablet", "mechanical valve"},
	{"zoledronic acid 5 mg infusion", "X-ZOLE5", "once a year", "infusion", "osteoporosis"},
}

var allergens = []string{
	"penicillin", "amoxicillin", "cefalexin", "trimethoprim", "sulfamethoxazole", "ibuprofen", "aspirin", "codeine", "morphine",
	"latex", "peanut", "egg", "shellfish", "bee venom", "iodinated contrast", "adhesive dressing", "lisinopril", "metformin",
}

var reactions = []string{
	"anaphylaxis", "urticaria", "widespread rash", "angioedema", "bronchospasm", "nausea and vomiting", "contact dermatitis",
	"cough", "facial swelling", "unknown, in childhood", "Stevens-Johnson syndrome", "dizziness", "diarrhoea", "itching",
}

var problems = []string{
	"Essential hypertension", "Type 2 diabetes mellitus", "Asthma", "Osteoarthritis of knee", "Generalised anxiety disorder",
	"Gastro-oesophageal reflux disease", "Chronic obstructive pulmonary disease", "Atrial fibrillation", "Hypothyroidism",
	"Major depressive disorder", "Migraine", "Chronic kidney disease stage 3", "Ischaemic heart disease", "Eczema", "Gout",
	"Iron deficiency anaemia", "Osteoporosis", "Benign prostatic hyperplasia", "Polycystic ovary syndrome", "Low back pain",
}

var reasons = []string{
	"Routine review", "Repeat prescription", "Cough", "Immunisation", "Care plan review", "Skin check", "Results", "Back pain",
	"Antenatal visit", "Mental health plan", "Wound dressing", "Medical certificate", "Blood pressure", "Telehealth", "New patient",
	"Diabetes cycle of care", "Cervical screening", "Ear pain", "Travel vaccines", "Driver's medical",
}

// measure is something observed: LOINC code, label, UCUM unit, usual range and spread in tenths.
type measure struct {
	code, label, unit string
	lo, hi            int // reference range, in tenths of the unit
	min, max          int // what is drawn, in tenths of the unit
}

var measures = []measure{
	{"8480-6", "Systolic blood pressure", "mm[Hg]", 900, 1400, 950, 1850}, {"8462-4", "Diastolic blood pressure", "mm[Hg]", 600, 900, 550, 1100},
	{"8867-4", "Heart rate", "/min", 600, 1000, 480, 1240}, {"29463-7", "Body weight", "kg", 450, 1100, 380, 1420},
	{"8302-2", "Body height", "cm", 1400, 2000, 1420, 1980}, {"39156-5", "Body mass index", "kg/m2", 185, 250, 170, 440},
	{"8310-5", "Body temperature", "Cel", 360, 375, 355, 396}, {"59408-5", "Oxygen saturation", "%", 940, 1000, 880, 1000},
	{"4548-4", "Haemoglobin A1c", "%", 40, 60, 45, 121}, {"14749-6", "Glucose", "mmol/L", 39, 78, 31, 194},
	{"2160-0", "Creatinine", "umol/L", 450, 1100, 420, 2600}, {"33914-3", "eGFR", "mL/min/{1.73_m2}", 600, 1200, 150, 1200},
	{"2823-3", "Potassium", "mmol/L", 35, 52, 30, 61}, {"2951-2", "Sodium", "mmol/L", 1350, 1450, 1240, 1490},
	{"718-7", "Haemoglobin", "g/L", 1200, 1700, 780, 1820}, {"6690-2", "White cell count", "10*9/L", 40, 110, 21, 194},
	{"777-3", "Platelets", "10*9/L", 1500, 4500, 880, 6210}, {"3016-3", "TSH", "m[IU]/L", 4, 40, 1, 143},
	{"2093-3", "Cholesterol", "mmol/L", 0, 55, 24, 91}, {"2085-9", "HDL cholesterol", "mmol/L", 10, 30, 6, 29},
	{"2571-8", "Triglycerides", "mmol/L", 0, 20, 4, 83}, {"1742-6", "ALT", "U/L", 50, 400, 60, 2310},
	{"2276-4", "Ferritin", "ug/L", 300, 3000, 40, 8200}, {"34714-6", "INR", "{INR}", 8, 12, 9, 52},
}
