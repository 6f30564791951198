// SPDX-License-Identifier: Apache-2.0
//
// The last ROWS rows of a stream of images in one memory, from which a pixel is read a clock, or a
// WORD of its channels.
//
// Row r of the stream, counted across images, is at `read_row` r mod ROWS. Rows and pixels are a
// power of two apart, so an address needs no adder.
// Latency: a pixel may be read in the clock after `col` has passed it; `read_data` comes a clock
// after its address.

`default_nettype none

module pixel_memory #(
    parameter ROWS       = 6,
    parameter WIDTH      = 28,        // pixels a row
    parameter CHANNELS   = 1,
    parameter LANES      = CHANNELS,  // channels a beat
    parameter WORD       = CHANNELS,  // channels at once: CHANNELS, or a divisor that LANES divides
    parameter ROW_WIDTH  = (ROWS > 1) ? $clog2(ROWS) : 1,
    parameter COL_WIDTH  = (WIDTH > 1) ? $clog2(WIDTH) : 1,
    parameter PART_WIDTH = (CHANNELS > WORD) ? $clog2(CHANNELS / WORD) : 1
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  beat,  // one is taken
    input  wire [8*LANES-1:0]    beat_data,
    output wire [COL_WIDTH-1:0]  col,          // of the pixel that comes next
    output wire                  row_written,  // the beat completes a row
    input  wire [ROW_WIDTH-1:0]  read_row,
    input  wire [COL_WIDTH-1:0]  read_col,
    input  wire [PART_WIDTH-1:0] read_part,  // which word of the pixel
    output wire [8*WORD-1:0]     read_data
);

    localparam WORDS      = CHANNELS / WORD;  // of a pixel
    localparam SLOT_WIDTH = COL_WIDTH + ((WORDS > 1) ? PART_WIDTH : 0);  // of an address in a row

    localparam [PART_WIDTH-1:0] PART_LAST = WORDS[PART_WIDTH-1:0] - 1'b1;
    localparam [COL_WIDTH-1:0]  COL_LAST  = WIDTH[COL_WIDTH-1:0] - 1'b1;
    localparam [ROW_WIDTH-1:0]  ROW_LAST  = ROWS[ROW_WIDTH-1:0] - 1'b1;

    wire              word_written;
    wire [8*WORD-1:0] word;

    beat_gatherer #(
        .CHANNELS(WORD), .LANES(LANES)
    ) gatherer (
        .clk(clk), .rst(rst),
        .beat(beat), .beat_data(beat_data), .group(word_written), .group_data(word)
    );

    reg  [PART_WIDTH-1:0] part_reg = 0;
    reg  [COL_WIDTH-1:0]  col_reg  = 0;
    reg  [ROW_WIDTH-1:0]  row_reg  = 0;
    wire                  pixel_written = word_written && (WORDS == 1 || part_reg == PART_LAST);

    assign col         = col_reg;
    assign row_written = pixel_written && col_reg == COL_LAST;

    always @(posedge clk) begin
        if (word_written)
            part_reg <= (WORDS == 1 || pixel_written) ? {PART_WIDTH{1'b0}} : part_reg + 1'b1;
        if (pixel_written)
            col_reg <= row_written ? {COL_WIDTH{1'b0}} : col_reg + 1'b1;
        if (row_written)
            row_reg <= (row_reg == ROW_LAST) ? {ROW_WIDTH{1'b0}} : row_reg + 1'b1;
        if (rst) begin
            part_reg <= 0;
            col_reg  <= 0;
            row_reg  <= 0;
        end
    end

    wire [SLOT_WIDTH-1:0] write_slot, read_slot;

    line_memory #(
        .WIDTH(8*WORD), .DEPTH(ROWS << SLOT_WIDTH), .ADDR_WIDTH(ROW_WIDTH + SLOT_WIDTH)
    ) rows (
        .clk(clk),
        .write(word_written), .write_addr({row_reg, write_slot}), .write_data(word),
        .read(1'b1), .read_addr({read_row, read_slot}), .read_data(read_data)
    );

    generate
        if (CHANNELS % WORD != 0 || (WORD < CHANNELS && WORD % LANES != 0)) begin : gen_bad_word
            error_WORD_must_be_CHANNELS_or_a_divisor_that_LANES_divides error();
        end

        if (WORDS > 1) begin : gen_parts
            assign write_slot = {col_reg, part_reg};
            assign read_slot  = {read_col, read_part};
        end else begin : gen_pixels
            wire unused = &{1'b0, read_part};
            assign write_slot = col_reg;
            assign read_slot  = read_col;
        end
    endgenerate

endmodule

`default_nettype wire
