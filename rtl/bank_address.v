// SPDX-License-Identifier: Apache-2.0
//
// Where a column_reader finds its columns in the banks of a line_buffer.
//
// The rows of a window are DILATION banks apart, the top one in `top_bank`. Where that goes beyond
// the last bank, they have wrapped around into the next slot of their bank, so they are one row of
// addresses further on. With one bank, the rows of a column are read one after the other.
//
// Where a sweep's top row is stored takes a remainder and a product. Both come from a table, which
// is looked up while the sweep before is read.

`default_nettype none

module bank_address #(
    parameter HEIGHT     = 28,  // rows of the image
    parameter OUT_HEIGHT = 26,  // sweeps an image
    parameter KERNEL     = 3,   // rows of a column
    parameter STRIDE     = 1,
    parameter PADDING    = 0,   // rows above the image
    parameter DILATION   = 1,
    parameter GROUPS     = 28,  // column groups a row of the image
    parameter ROWS       = 6,   // that the banks hold
    parameter BANKS      = 3,   // as of column_reader
    parameter ADDR_WIDTH = 6,   // bits of an address in a bank
    parameter BANK_WIDTH = (BANKS > 1) ? $clog2(BANKS) : 1
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire                        read,
    input  wire                        column_last,  // this read is the last of its column
    input  wire                        sweep_last,   // this column is the last of its sweep
    input  wire                        image_next,   // the sweep after the next begins an image
    output wire [BANKS*ADDR_WIDTH-1:0] read_addr,
    output wire [BANK_WIDTH-1:0]       top_bank
);

    localparam DEPTH      = ROWS / BANKS * GROUPS;  // of a bank
    localparam LINE_WIDTH = (ROWS > 1) ? $clog2(ROWS) : 1;
    // Slots of a bank that the rows of a window are in.
    localparam SLOTS      = (BANKS > 1) ? (BANKS - 1 + (KERNEL - 1)*DILATION)/BANKS + 1 : 1;
    localparam BANK_AT    = SLOTS*ADDR_WIDTH;  // in an entry
    localparam LINE_AT    = BANK_AT + BANK_WIDTH;
    localparam ENTRY_BITS = LINE_AT + 2*LINE_WIDTH;
    localparam ENTRY_SIZE = 1 << $clog2(ENTRY_BITS + 1);  // a power of two, so no product

    // A line is one of the ROWS places of a row. The top line of the first sweep, and how far it
    // moves from sweep to sweep and from the last sweep of an image to the next image.
    localparam FIRST_LINE = (ROWS - PADDING) % ROWS;
    localparam STEP_LINES = STRIDE % ROWS;
    localparam TURN_LINES = (HEIGHT - (OUT_HEIGHT - 1)*STRIDE + ROWS) % ROWS;

    // Of a top line: its address and those of the slots further on, its bank, and the top line of
    // the next sweep, in this image or in the next one.
    // Only as many bits of these integers are used as their values need.
    /* verilator lint_off UNUSEDSIGNAL */
    function [ENTRY_BITS-1:0] entry;
        input integer line;
        integer       slot, word, bank, stepped, turned;
        begin
            bank    = line % BANKS;
            stepped = (line + STEP_LINES) % ROWS;
            turned  = (line + TURN_LINES) % ROWS;
            entry   = {{BANK_AT{1'b0}}, turned[LINE_WIDTH-1:0], stepped[LINE_WIDTH-1:0],
                       bank[BANK_WIDTH-1:0]};
            for (slot = SLOTS - 1; slot >= 0; slot = slot - 1) begin
                word  = (line / BANKS + slot) * GROUPS % DEPTH;
                entry = {entry[ENTRY_BITS-ADDR_WIDTH-1:0], word[ADDR_WIDTH-1:0]};
            end
        end
    endfunction

    // Bit `top`: with the window's top row in that bank, its row in `bank` is at least `slot` slots
    // further on. Bits beyond the last bank are like that of the last.
    function [(1<<BANK_WIDTH)-1:0] tops_with;
        input integer bank, slot;
        integer       top, row, at;
        begin
            tops_with = 0;
            for (top = 0; top < (1 << BANK_WIDTH); top = top + 1)
                for (row = 0; row < KERNEL; row = row + 1) begin
                    at = ((top < BANKS) ? top : BANKS - 1) + row*DILATION;
                    if (at % BANKS == bank && at / BANKS >= slot)
                        tops_with[top] = 1'b1;
                end
        end
    endfunction
    /* verilator lint_on UNUSEDSIGNAL */

    wire [ROWS*ENTRY_SIZE-1:0] entries;

    genvar number;
    generate
        for (number = 0; number < ROWS; number = number + 1) begin : gen_entry
            localparam [ENTRY_BITS-1:0] ENTRY = entry(number);
            assign entries[number*ENTRY_SIZE +: ENTRY_SIZE] =
                {{(ENTRY_SIZE-ENTRY_BITS){1'b0}}, ENTRY};
        end
    endgenerate

    localparam [ENTRY_BITS-1:0] START       = entry(FIRST_LINE);
    localparam [BANK_WIDTH-1:0] BANK_START  = START[BANK_AT +: BANK_WIDTH];
    localparam [LINE_WIDTH-1:0] LINE_SECOND =
        START[LINE_AT + ((OUT_HEIGHT > 1) ? 0 : LINE_WIDTH) +: LINE_WIDTH];

    reg  [LINE_WIDTH-1:0]       ahead_reg = LINE_SECOND;  // top line of the next sweep
    wire [SLOTS*ADDR_WIDTH-1:0] slots_next, slots;        // of this column
    wire [BANK_WIDTH-1:0]       bank_next;
    wire [LINE_WIDTH-1:0]       stepped, turned;
    assign {turned, stepped, bank_next, slots_next} =
        entries[ahead_reg*ENTRY_SIZE +: ENTRY_BITS];

    wire column_done = read && column_last;
    wire sweep_done  = column_done && sweep_last;

    always @(posedge clk) begin
        if (sweep_done)
            ahead_reg <= image_next ? turned : stepped;
        if (rst)
            ahead_reg <= LINE_SECOND;
    end

    genvar bank, slot;
    generate
        for (slot = 0; slot < SLOTS; slot = slot + 1) begin : gen_slot
            reg [ADDR_WIDTH-1:0] slot_reg = START[slot*ADDR_WIDTH +: ADDR_WIDTH];
            assign slots[slot*ADDR_WIDTH +: ADDR_WIDTH] = slot_reg;
            always @(posedge clk) begin
                if (column_done)
                    slot_reg <= sweep_last ? slots_next[slot*ADDR_WIDTH +: ADDR_WIDTH]
                                           : slot_reg + 1'b1;
                if (rst)
                    slot_reg <= START[slot*ADDR_WIDTH +: ADDR_WIDTH];
            end
        end

        if (BANKS == 1) begin : gen_row_by_row
            localparam                  STEP     = DILATION * GROUPS;
            localparam [ADDR_WIDTH-1:0] ROW_STEP = STEP[ADDR_WIDTH-1:0];
            localparam [ADDR_WIDTH-1:0] LAST_ROW = DEPTH[ADDR_WIDTH-1:0] - ROW_STEP;
            reg  [ADDR_WIDTH-1:0] addr_reg = START[0 +: ADDR_WIDTH];
            wire                  unused   = &{1'b0, bank_next};

            assign read_addr = addr_reg;
            assign top_bank  = 1'b0;

            always @(posedge clk) begin
                if (read) begin
                    if (column_last)
                        addr_reg <= sweep_last ? slots_next : slots + 1'b1;
                    else
                        addr_reg <= (addr_reg >= LAST_ROW) ? addr_reg - LAST_ROW
                                                           : addr_reg + ROW_STEP;
                end
                if (rst)
                    addr_reg <= START[0 +: ADDR_WIDTH];
            end
        end else begin : gen_side_by_side
            reg [BANK_WIDTH-1:0] bank_reg = BANK_START;

            assign top_bank = bank_reg;

            always @(posedge clk) begin
                if (sweep_done)
                    bank_reg <= bank_next;
                if (rst)
                    bank_reg <= BANK_START;
            end

            for (bank = 0; bank < BANKS; bank = bank + 1) begin : gen_bank
                wire [SLOTS-1:0]      further;
                reg  [ADDR_WIDTH-1:0] chosen;
                integer               index;
                assign further[0] = 1'b1;
                assign read_addr[bank*ADDR_WIDTH +: ADDR_WIDTH] = chosen;
                always @* begin
                    chosen = 0;
                    for (index = 0; index < SLOTS; index = index + 1)
                        if (further[index])
                            chosen = slots[index*ADDR_WIDTH +: ADDR_WIDTH];
                end
                for (slot = 1; slot < SLOTS; slot = slot + 1) begin : gen_further
                    localparam [(1<<BANK_WIDTH)-1:0] TOPS = tops_with(bank, slot);
                    reg further_reg = TOPS[BANK_START];
                    assign further[slot] = further_reg;
                    always @(posedge clk) begin
                        if (sweep_done)
                            further_reg <= TOPS[bank_next];
                        if (rst)
                            further_reg <= TOPS[BANK_START];
                    end
                end
            end
        end
    endgenerate

endmodule

`default_nettype wire
